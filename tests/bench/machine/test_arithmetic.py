"""What a device really computes in."""

import pytest

from bench.machine.arithmetic import arithmetic_errors
from bench.machine.device import Device
from bench.records.checks import LARGEST_ERROR


def test_float32_errs_like_float32_and_bfloat16_does_not_pass_for_it():
    exact, rounded = (arithmetic_errors(Device.open("CPU", precision)) for precision in ("FP32", "BF16"))
    for kind in ("product_error", "convolution_error"):
        assert 0 < exact[kind] < LARGEST_ERROR["FP32"] / 5
        assert LARGEST_ERROR["FP32"] < rounded[kind] < LARGEST_ERROR["BF16"]
        assert rounded[kind] == pytest.approx(3e-3, rel=0.7)
