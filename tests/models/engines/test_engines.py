import importlib.util
from types import SimpleNamespace

import pytest
import torch

from bench.errors import UserError
from bench.machine.device import Device
from bench.records.record import Record
from models import test
from models.data.charset import Charset
from models.engines import table as engines
from models.engines.table import cast_once, choose_engine, make_engine
from models.network.model import Model
from models.network.network import build


def choose(name, network, images, precision="FP32"):
    return choose_engine(name, network, Device.open("CPU", precision), Charset(), images, lambda message: None)


def make(name, network, images, precision="FP32"):
    return make_engine(name, network, Device.open("CPU", precision), Charset(), images)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return build(Model(hidden=16)).eval()


@pytest.fixture(scope="module")
def images():
    return torch.randn(4, 1, 32, 100, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("precision", ["FP32", "AMP"])
@pytest.mark.parametrize("name", ["eager", "prepacked", "onnxruntime", "openvino"])
def test_every_engine_computes_the_network(name, precision, network, images):
    if name in engines.RUNTIMES and not importlib.util.find_spec(name):
        pytest.skip(f"{name} is not here")
    if (name, precision) == ("onnxruntime", "AMP"):
        pytest.skip("refused: the test below")
    assert choose(name, network, images, precision).name == name


@pytest.mark.parametrize(
    "model", [Model(hidden=16), Model(hidden=16, sequence="gru", rectifier="tps", head="attention")]
)
def test_weights_cast_once_compute_the_same_bits(model, images):
    torch.manual_seed(0)
    network = build(model).eval()
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(network(images), cast_once(network, torch.bfloat16)(images))
    assert all(weight.dtype is torch.float32 for weight in network.parameters())


CTC, ATTENTION = Model(hidden=16), Model(hidden=16, backbone="resnet_cifar", head="attention")


# Two units of bfloat16 at 2 to 4; an attention head reads what it wrote, and with that its own rounding again.
@pytest.mark.parametrize(
    ("model", "precision", "near"),
    [(CTC, "FP32", 2e-5), (ATTENTION, "FP32", 2e-5), (CTC, "AMP", 2**-5), (ATTENTION, "AMP", 2**-2)],
)
def test_prepacked_weights_compute_what_plain_ones_do(model, precision, near, images):
    torch.manual_seed(0)
    network = build(model).eval()
    widths = torch.tensor([100, 60, 80, 100])
    run = make("prepacked", network, images, precision)
    with torch.inference_mode(), Device.open("CPU", precision).autocast():
        torch.testing.assert_close(run(images), network(images), atol=near, rtol=0)
        assert torch.equal(run(images, widths), network(images, widths))


def test_what_disagrees_is_refused(network, images, monkeypatch):
    monkeypatch.setitem(
        engines.ENGINES, "compile", lambda network, device, charset, images: lambda x, widths: network(x) + 0.01
    )
    with pytest.raises(UserError, match="logits differ by 0"):
        choose("compile", network, images)


def test_auto_takes_the_fastest_of_those_that_agree(network, images, monkeypatch):
    rows = {
        "eager": lambda network, device, charset, images: network,
        "wrong": lambda network, device, charset, images: lambda x, widths: network(x) * 2,
        "missing": lambda network, device, charset, images: engines.import_package("no_such_package"),
        "fast": lambda network, device, charset, images: network,
    }
    monkeypatch.setattr(engines, "ENGINES", rows)
    monkeypatch.setattr(engines, "time_engine", lambda engine, *_: {"eager": 2, "wrong": 0, "fast": 1}[engine.name])
    assert choose("auto", network, images).name == "fast"


def test_integers_come_near(network, images):
    for name in ("onnxruntime", "openvino"):
        pytest.importorskip(name)
    exact, rounded = network(images), choose("openvino_int8", network, images)(images)
    # The root mean square: the largest of thousands of roundings says more of their number than of the engine.
    assert 0 < (exact - rounded).square().mean().sqrt() < 0.02 * (exact.max() - exact.min())


def test_auto_never_loses_accuracy(network, images, monkeypatch):
    monkeypatch.setattr(engines, "ENGINES", {"eager": engines.eager, "openvino_int8": None})
    assert choose("auto", network, images).name == "eager"


def test_a_missing_package_is_one_line():
    with pytest.raises(UserError, match="needs the package no_such_package: pip install"):
        engines.import_package("no_such_package")


def test_padded_pictures_stay_with_torch(network, images):
    pytest.importorskip("onnxruntime")
    engine = make("onnxruntime", network, images)
    with pytest.raises(UserError, match="images of one width"):
        engine(images, torch.tensor([100, 60, 100, 100]))


def test_float32_only_engines_say_so(network, images):
    pytest.importorskip("onnxruntime")
    with pytest.raises(UserError, match="float32 on a CPU"):
        make("onnxruntime", network, images, "AMP")


def test_the_record_names_the_engine(tmp_path, sample):
    quick = ["--device", "CPU", "--latency-runs", "0", "--warmup-steps", "1", "--engine", "prepacked"]
    places = ["--dataset", str(sample), "--checkpoints", str(tmp_path / "none"), "--results", str(tmp_path)]
    test.main([*places, *quick])
    [path] = tmp_path.glob("*.json")
    assert Record.load(path).cell["engine"] == "prepacked"


class Session:
    """ONNX Runtime's answer where the TensorRT provider was built in and its libraries do not load."""

    def __init__(self, content, providers):
        self.asked = providers

    def get_providers(self):
        return ["CPUExecutionProvider"]


def test_tensorrt_that_fell_back_to_the_host_is_refused(network, images, monkeypatch):
    """onnxruntime-gpu lists what it was built with, and its session goes on without."""
    built = SimpleNamespace(
        InferenceSession=Session,
        get_available_providers=lambda: ["TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"],
    )
    monkeypatch.setattr(engines, "import_package", lambda name: built)
    with pytest.raises(UserError, match="--engine tensorrt: ONNX Runtime fell back to CPUExecutionProvider here"):
        make("tensorrt", network, images)
