import pytest
import torch
import torch.nn.functional as F

from bench.machine.device import Device
from models.network import winograd
from models.network.winograd import Conv2d, Winograd, correlate, weight_gradient
from models.training.optimizer import has_fused_kernel


def made(n=3, channels=5, outputs=4, height=8, width=25):
    torch.manual_seed(0)
    x = torch.randn(n, channels, height, width).contiguous(memory_format=torch.channels_last)
    return x, torch.randn(outputs, channels, 3, 3)


@pytest.mark.parametrize(("height", "width"), [(4, 4), (8, 25), (7, 9), (1, 1)])
@pytest.mark.parametrize("chunk", [1, 1 << 22])
def test_it_is_the_convolution(height, width, chunk, monkeypatch):
    monkeypatch.setattr(winograd, "CHUNK", chunk)
    x, weight = made(height=height, width=width)
    y = correlate(x, weight)
    torch.testing.assert_close(y, F.conv2d(x, weight, padding=1), atol=1e-4, rtol=1e-4)
    assert y.is_contiguous(memory_format=torch.channels_last)


def test_gradients_are_those_of_the_convolution():
    x, weight = (t.double().requires_grad_() for t in made(n=2, height=5, width=6))
    bias = torch.randn(4, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(Winograd.apply, (x, weight, bias))


@pytest.mark.parametrize("chunk", [1, 1 << 22])
def test_the_weights_gradient_is_summed_over_all_chunks(chunk, monkeypatch):
    monkeypatch.setattr(winograd, "CHUNK", chunk)
    x, weight = made()
    gradient = torch.randn(3, 4, 8, 25)
    expected = torch.nn.grad.conv2d_weight(x, weight.shape, gradient, padding=1)
    torch.testing.assert_close(weight_gradient(x, gradient), expected, atol=1e-3, rtol=1e-4)


def taken(monkeypatch, convolution, x) -> bool:
    went = []
    monkeypatch.setattr(winograd.Winograd, "apply", lambda *a: went.append(a) or F.conv2d(*a, padding=1))
    convolution(x)
    return bool(went)


def test_large_float32_batches_take_the_short_way(monkeypatch):
    assert taken(monkeypatch, Conv2d(128, 128, 3, padding=1), torch.zeros(16, 128, 8, 25))


@pytest.mark.parametrize(
    ("convolution", "shape"),
    [
        (Conv2d(128, 128, 3, padding=1), (1, 128, 8, 25)),
        (Conv2d(128, 128, 3, padding=1), (64, 128, 2, 26)),
        (Conv2d(128, 128, 3, stride=2, padding=1), (16, 128, 8, 25)),
        (Conv2d(128, 128, 1), (16, 128, 8, 25)),
        (Conv2d(64, 128, 3, padding=1), (16, 64, 8, 25)),
        (Conv2d(128, 128, 3, padding=1, groups=2), (16, 128, 8, 25)),
    ],
)
def test_others_are_left_to_torch(convolution, shape, monkeypatch):
    assert not taken(monkeypatch, convolution, torch.zeros(shape))


def test_autocast_is_left_to_torch(monkeypatch):
    with torch.autocast("cpu", torch.bfloat16):
        assert not taken(monkeypatch, Conv2d(128, 128, 3, padding=1), torch.zeros(16, 128, 8, 25))


def test_a_recogniser_reads_the_same_either_way(monkeypatch):
    from models.network.model import Model
    from models.network.network import build

    torch.manual_seed(0)
    network, images = build(Model()).eval(), torch.randn(20, 1, 32, 100)
    with torch.inference_mode():
        short = network(images)
        monkeypatch.setattr(winograd, "worth_it", lambda x, tile=None: False)
        plain = network(images)
    assert not torch.equal(short, plain)
    torch.testing.assert_close(short, plain, atol=1e-4, rtol=0)


@pytest.mark.parametrize("tile", [winograd.F2, winograd.F4], ids=["F2", "F4"])
@pytest.mark.parametrize(("height", "width"), [(4, 26), (7, 9), (1, 1)])
def test_every_tile_is_the_convolution(tile, height, width):
    x, weight = made(height=height, width=width)
    y = winograd.through(x, winograd.filters(weight, tile), tile)
    torch.testing.assert_close(y, F.conv2d(x, weight, padding=1), atol=1e-4, rtol=1e-4)


@pytest.fixture
def no_amx(monkeypatch):
    monkeypatch.setattr(winograd, "has_amx", lambda: False)


def read(convolution, x):
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        return convolution(x)


@pytest.mark.parametrize(("channels", "most"), [(256, 0.02), (512, 0.06)])
def test_bfloat16_is_read_the_short_way_and_nearly_the_same(channels, most, no_amx):
    """Errors as docs/performance.md has them, relative to the outputs' root mean square."""
    torch.manual_seed(0)
    convolution, x = Conv2d(channels, 512, 3, padding=1), torch.randn(24, channels, 4, 26).relu()
    expected = F.conv2d(x, convolution.weight, convolution.bias, padding=1)
    assert convolution.kept is None
    y = read(convolution, x)
    assert y.dtype == torch.bfloat16
    assert convolution.kept is not None
    assert (y - expected).square().mean().sqrt() < most * expected.square().mean().sqrt()


def test_weights_that_changed_are_transformed_anew(no_amx):
    convolution, x = Conv2d(512, 512, 3, padding=1, bias=False).eval(), torch.randn(20, 512, 4, 26)
    before = read(convolution, x)
    kept = convolution.kept[1]
    assert read(convolution, x).equal(before)
    assert convolution.kept[1] is kept
    with torch.no_grad():
        convolution.weight.mul_(2)
    torch.testing.assert_close(read(convolution, x), before * 2)


def test_what_learns_or_has_amx_stays_with_torch(monkeypatch, no_amx):
    convolution, x = Conv2d(512, 512, 3, padding=1), torch.randn(20, 512, 4, 26)
    with torch.autocast("cpu", torch.bfloat16):
        assert convolution.reading_tile(x) is None  # gradients are on
    assert convolution.reading_tile(x) is None
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        assert convolution.reading_tile(x) is winograd.F4
        assert convolution.reading_tile(x[:1]) is None
        monkeypatch.setattr(winograd, "has_amx", lambda: True)
        assert convolution.reading_tile(x) is None
    with torch.inference_mode():
        assert convolution.reading_tile(x) is None  # float32


@pytest.mark.skipif(not has_fused_kernel("adamw", Device.open("CPU")), reason="since torch 2.4")
def test_filters_kept_for_reading_follow_a_fused_optimiser(no_amx):
    """It changes weights without counting it: validation once read with the filters of the epoch before."""
    torch.manual_seed(0)
    conv, x = Conv2d(512, 512, 3, padding=1), torch.randn(32, 512, 4, 26)
    optimizer = torch.optim.AdamW(conv.parameters(), lr=0.1, fused=True)
    for _ in range(2):
        conv.eval()
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            found = conv(x)
            fresh = Conv2d(512, 512, 3, padding=1)
            fresh.load_state_dict(conv.state_dict())
            assert torch.equal(found, fresh.eval()(x))
        conv.train()(x[:1]).sum().backward()
        optimizer.step()
