"""Recurrent layers in a type of their own, whatever autocast says around them."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from models.network.recurrent import Recurrent


class LstmInputs(TorchDispatchMode):
    """Types that arrive at whatever computes an LSTM or a GRU."""

    def __init__(self):
        super().__init__()
        self.dtypes = set()

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        if any(name in str(function) for name in ("rnn_layer", "lstm", "gru", "sigmoid")):
            self.dtypes |= {one.dtype for one in arguments if isinstance(one, torch.Tensor)}
        return function(*arguments, **(keywords or {}))


def close(a, b):
    return torch.allclose(a.float(), b.float(), atol=2e-2)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
@pytest.mark.parametrize("lengths", [None, torch.tensor([5, 3, 1])], ids=["whole", "padded"])
def test_a_layer_in_bfloat16_is_in_bfloat16_under_an_autocast_of_float16(cell, lengths):
    """torch.autocast of CUDA makes float16 of cuDNN's layers; a CPU's would leave this one in float32."""
    torch.manual_seed(0)
    layer, x = Recurrent(cell, 12, 8, 6), torch.randn(5, 3, 12)
    expected = layer(x, lengths)
    layer.dtype = torch.bfloat16
    with LstmInputs() as seen:
        found = layer.read(x.bfloat16(), lengths)
    assert found.dtype is torch.bfloat16 and torch.bfloat16 in seen.dtypes and torch.float16 not in seen.dtypes
    with torch.autocast("cpu", torch.bfloat16):
        found = layer(x, lengths)
    assert close(found, expected)


def test_gradients_reach_the_weights_themselves_and_not_a_copy():
    torch.manual_seed(0)
    layer, x = Recurrent("lstm", 12, 8, None), torch.randn(5, 3, 12)
    layer(x).square().mean().backward()
    expected = [weight.grad for weight in layer.rnn.parameters()]
    layer.zero_grad()
    layer.dtype = torch.bfloat16
    layer(x).float().square().mean().backward()
    for weight, gradient in zip(layer.rnn.parameters(), expected, strict=True):
        assert weight.dtype is weight.grad.dtype is torch.float32
        assert torch.allclose(weight.grad, gradient, atol=2e-3, rtol=5e-2)


def test_weights_that_are_cast_once_are_not_cast_again():
    layer = Recurrent("lstm", 12, 8, None)
    layer.dtype = torch.bfloat16
    x = torch.randn(5, 3, 12)
    with torch.no_grad():
        each_time = layer(x)
        layer.rnn.to(torch.bfloat16)
        assert torch.equal(layer(x), each_time)
