import pytest
import torch
from torch import nn

from bench.machine.device import Device
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
