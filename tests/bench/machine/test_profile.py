import contextlib
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.autograd import DeviceType

from bench.machine import profile as profiling
from bench.machine.device import Device
from bench.machine.discovery import DEVICES
from bench.machine.profile import profile_shares, shares_by_kind
from models.training.ablation import KINDS

TIMES = {"aten::conv2d": 6.0, "aten::convolution_backward": 2.0, "aten::lstm": 1.0, "aten::relu": 1.0}


def test_shares_add_up_and_what_is_of_no_kind_is_other():
    found = shares_by_kind(TIMES, {"convolution": "conv", "recurrent": "lstm|gru", "ctc": "ctc"})
    assert found == {"convolution": 0.8, "recurrent": 0.1, "other": 0.1}


def test_nothing_measured_is_no_share():
    assert shares_by_kind({}, KINDS) == shares_by_kind({"aten::relu": 0.0}, KINDS) == {}


@pytest.mark.parametrize(
    ("operation", "kind"),
    [
        ("aten::mkldnn_convolution", "convolution"),
        ("aten::cudnn_convolution", "convolution"),
        ("aten::_cudnn_rnn_backward", "recurrent"),
        ("aten::mkldnn_rnn_layer", "recurrent"),
        ("aten::_ctc_loss_backward", "ctc"),
        ("aten::_log_softmax", "ctc"),
        ("aten::_foreach_addcdiv_", "optimizer"),
        ("nccl:all_reduce", "communication"),
        ("gloo:all_reduce", "communication"),
        ("aten::addmm", "linear"),
        ("aten::copy_", "copies"),
    ],
)
def test_operations_fall_where_a_person_would_put_them(operation, kind):
    assert shares_by_kind({operation: 1.0}, KINDS) == {kind: 1.0}


def test_a_network_of_convolutions_spends_its_time_in_them():
    layers, pictures = nn.Conv2d(8, 32, 3), torch.zeros(4, 8, 64, 64)
    found = profile_shares(lambda: layers(pictures), 3, Device.open("CPU"), KINDS)
    assert found["source"] == "host"
    assert found["steps"] == 3
    assert max(found["shares"], key=found["shares"].get) == "convolution"
    assert sum(found["shares"].values()) == pytest.approx(1)


def averaged(key, us, device_type=DeviceType.CPU):
    return SimpleNamespace(key=key, self_device_time_total=us, self_cpu_time_total=1.0, device_type=device_type)


# What key_averages() lists of a GPU (torch 2.13, CUDA 13): operations with the time of the kernels they launched, the
# kernels themselves with the same time, and ranges that people named.
CUDA_TRACE = [
    averaged("aten::cudnn_convolution", 600.0),
    averaged("aten::_cudnn_rnn", 200.0),
    averaged("Optimizer.step#Adam.step", 0.0),
    averaged("aten::_fused_adam_", 100.0),
    averaged("sm90_xmma_fprop_implicit_gemm_bf16", 600.0, DeviceType.CUDA),
    averaged("void persistRNN_kernel<float>", 200.0, DeviceType.CUDA),
    averaged("void multi_tensor_apply_kernel<FusedAdamMathFunctor>", 100.0, DeviceType.CUDA),
    averaged("Optimizer.step#Adam.step", 100.0, DeviceType.CUDA),
]


def test_a_kernel_counts_once_and_for_the_operation_that_launched_it(monkeypatch):
    class Trace(contextlib.nullcontext):
        def key_averages(self):
            return CUDA_TRACE

    trace = Trace()
    trace.enter_result = trace
    monkeypatch.setattr(profiling, "profile", lambda activities: trace)
    card = SimpleNamespace(kind=DEVICES["GPU"], synchronize=lambda: None)
    found = profiling.profile_shares(lambda: None, 1, card, KINDS)
    assert found["source"] == "device"
    shares = {kind: round(share, 3) for kind, share in found["shares"].items()}
    assert shares == {"convolution": 0.667, "recurrent": 0.222, "optimizer": 0.111}
