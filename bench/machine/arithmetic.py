"""In what precision a device really computes: a product and a convolution against float64, whatever switches say.

An environment variable (ONEDNN_DEFAULT_FPMATH_MODE, NVIDIA_TF32_OVERRIDE) turns FP32 into bfloat16 or TF32 and leaves
every switch of torch as it was. The error of a result does not lie.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from bench.machine.device import Device
from bench.records.sections import Audit


def arithmetic_errors(device: Device) -> Audit:
    """Norm of the error / norm of the result of both, computed as this device's runs compute."""
    random = torch.Generator().manual_seed(0)

    def numbers(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=random)

    def error(work: Callable[..., Tensor], *inputs: Tensor) -> float:
        exact = work(*(one.double() for one in inputs))
        with torch.no_grad(), device.autocast():
            found = work(*(one.to(device.torch) for one in inputs)).double().cpu()
        return float((found - exact).norm() / exact.norm())

    return {
        "product_error": error(torch.matmul, numbers(256, 256), numbers(256, 256)),
        "convolution_error": error(
            lambda images, kernels: torch.nn.functional.conv2d(images, kernels, padding=1),
            numbers(2, 64, 16, 50),
            numbers(64, 64, 3, 3),
        ),
    }
