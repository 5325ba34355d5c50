import pytest
import torch
import torch.nn.functional as F
from torch import nn

from bench.errors import UserError
from models.network import winograd
from models.network.model import Model
from models.network.network import build
from models.network.winograd import WinogradConv2d, WinogradFunction, convolve, use_winograd, weight_gradient


def made(n=3, channels=5, outputs=4, height=8, width=25):
    torch.manual_seed(0)
    x = torch.randn(n, channels, height, width).contiguous(memory_format=torch.channels_last)
    return x, torch.randn(outputs, channels, 3, 3)


@pytest.mark.parametrize(("height", "width"), [(4, 4), (4, 26), (8, 25), (7, 9), (1, 1)])
@pytest.mark.parametrize("chunk", [1, 1 << 22])
def test_it_is_the_convolution(height, width, chunk, monkeypatch):
    monkeypatch.setattr(winograd, "CHUNK", chunk)
    x, weight = made(height=height, width=width)
    y = convolve(x, weight)
    torch.testing.assert_close(y, F.conv2d(x, weight, padding=1), atol=1e-4, rtol=1e-4)
    assert y.is_contiguous(memory_format=torch.channels_last)


def test_gradients_are_those_of_the_convolution():
    x, weight = (t.double().requires_grad_() for t in made(n=2, height=5, width=6))
    bias = torch.randn(4, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(WinogradFunction.apply, (x, weight, bias))


@pytest.mark.parametrize("chunk", [1, 1 << 22])
def test_the_weights_gradient_is_summed_over_all_chunks(chunk, monkeypatch):
    monkeypatch.setattr(winograd, "CHUNK", chunk)
    x, weight = made()
    gradient = torch.randn(3, 4, 8, 25)
    expected = torch.nn.grad.conv2d_weight(x, weight.shape, gradient, padding=1)
    torch.testing.assert_close(weight_gradient(x, gradient), expected, atol=1e-3, rtol=1e-4)


def uses_winograd(convolution: nn.Conv2d, x: torch.Tensor, monkeypatch) -> bool:
    network = nn.Sequential(convolution)
    use_winograd(network)
    calls = []
    monkeypatch.setattr(WinogradFunction, "apply", lambda *a: calls.append(a) or F.conv2d(*a, padding=1))
    network(x)
    return bool(calls)


def test_large_float32_batches_take_it(monkeypatch):
    assert uses_winograd(nn.Conv2d(128, 128, 3, padding=1), torch.zeros(16, 128, 8, 25), monkeypatch)


@pytest.mark.parametrize(
    ("convolution", "shape"),
    [
        (nn.Conv2d(128, 128, 3, padding=1), (1, 128, 8, 25)),
        (nn.Conv2d(128, 128, 3, padding=1), (64, 128, 2, 26)),
        (nn.Conv2d(128, 128, 3, stride=2, padding=1), (16, 128, 8, 25)),
        (nn.Conv2d(128, 128, 1), (16, 128, 8, 25)),
        (nn.Conv2d(64, 128, 3, padding=1), (16, 64, 8, 25)),
        (nn.Conv2d(128, 128, 3, padding=1, groups=2), (16, 128, 8, 25)),
    ],
)
def test_others_are_left_to_torch(convolution, shape, monkeypatch):
    assert not uses_winograd(convolution, torch.zeros(shape), monkeypatch)


def test_bfloat16_is_left_to_torch(monkeypatch):
    convolution = nn.Conv2d(128, 128, 3, padding=1).bfloat16()
    assert not uses_winograd(convolution, torch.zeros(16, 128, 8, 25, dtype=torch.bfloat16), monkeypatch)


def test_no_network_has_it_unless_asked():
    assert not any(isinstance(layer, WinogradConv2d) for layer in build(Model()).modules())


def test_a_network_keeps_its_weights_and_draws_nothing():
    torch.manual_seed(0)
    network = build(Model())
    weights, state = dict(network.named_parameters()), torch.get_rng_state()
    use_winograd(network)
    assert torch.equal(torch.get_rng_state(), state)
    assert list(weights) == [name for name, _ in network.named_parameters()]
    assert all(weights[name] is parameter for name, parameter in network.named_parameters())
    assert sum(isinstance(layer, WinogradConv2d) for layer in network.modules()) == 4  # conv2 to conv5 of VGG


def test_a_recogniser_reads_the_same_either_way():
    torch.manual_seed(0)
    network, images = build(Model()).eval(), torch.randn(20, 1, 32, 100)
    with torch.inference_mode():
        vendor = network(images)
        use_winograd(network)
        ours = network(images)
    assert not torch.equal(ours, vendor)
    torch.testing.assert_close(ours, vendor, atol=1e-4, rtol=0)


@pytest.mark.parametrize("word", ["--precision=BF16", "--compile=true"])
def test_options_that_would_use_other_kernels_are_refused(word, tmp_path):
    from models import train

    options = ["--input", "synthetic", "--device", "CPU", "--steps", "1", "--kernels", "winograd", word]
    with pytest.raises(UserError, match="--kernels winograd needs"):
        train.main([*options, "--checkpoints", str(tmp_path), "--results", str(tmp_path)])
