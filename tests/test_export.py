import pytest
import torch

from bench.refusal import Refusal
from models import export as exporting
from models.export import export
from models.model import Model
from models.recogniser import build

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    torch.manual_seed(0)
    network = build(Model(hidden=16)).eval()
    return network, export(
        network, tmp_path_factory.mktemp("onnx") / "net.onnx", "0123456789abcdefghijklmnopqrstuvwxyz"
    )


@pytest.mark.parametrize(("batch", "width"), [(1, 100), (3, 100), (2, 180)])
def test_batch_and_width_are_free(exported, batch, width):
    network, path = exported
    images = torch.randn(batch, 1, 32, width)
    [logits] = onnxruntime.InferenceSession(path).run(None, {"images": images.numpy()})
    with torch.inference_mode():
        torch.testing.assert_close(torch.from_numpy(logits), network(images), atol=1e-4, rtol=0)


def test_the_file_says_how_to_use_it(exported):
    found = onnxruntime.InferenceSession(exported[1]).get_modelmeta().custom_metadata_map
    assert found["characters"] == "0123456789abcdefghijklmnopqrstuvwxyz"
    assert (found["height_px"], found["channels"], found["class_0"]) == ("32", "1", "blank")
    assert found["normalisation"] == "x / 127.5 - 1"


def test_training_goes_on_after_an_export(tmp_path):
    network = build(Model(hidden=8)).train()
    export(network, tmp_path / "net.onnx", "ab")
    assert network.training


def test_without_a_checkpoint_nothing_is_written(tmp_path):
    with pytest.raises(Refusal, match="no trained checkpoint"):
        exporting.main(["--checkpoints", str(tmp_path), "--out", str(tmp_path / "net.onnx")])
    assert not list(tmp_path.iterdir())
