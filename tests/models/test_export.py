"""Files for other programs say what they are and compute what torch computes, for every recipe."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from bench.errors import UserError
from models import Recogniser
from models import export as exporting
from models.data.charset import Charset
from models.decoding.decoder import Decoder
from models.engines.onnx_file import export
from models.engines.table import RUNTIMES
from models.network.model import Model
from models.network.network import build
from models.run.options import RECIPES
from tests.support.checkpoints import saved
from tests.support.images import noise

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
CHARSET = Charset()
PROGRAMS = hasattr(torch.export, "Dim")  # torch 2.2
NAMES = sorted(path.stem for path in RECIPES.glob("*.yaml"))


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    torch.manual_seed(0)
    network = build(Model(hidden=16)).eval()
    return network, export(network, tmp_path_factory.mktemp("onnx") / "net.onnx", CHARSET.characters)


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
    assert found["logits"] == "steps, pictures, classes"
    assert int(found["opset"]) == next(i.version for i in onnx.load(exported[1]).opset_import if i.domain == "")


def test_training_goes_on_after_an_export(tmp_path):
    network = build(Model(hidden=8)).train()
    export(network, tmp_path / "net.onnx", "ab")
    assert network.training


def made(recipe: str):
    """The network of a recipe, with weights that a seed gives."""
    options = yaml.safe_load((RECIPES / f"{recipe}.yaml").read_text())
    torch.manual_seed(0)
    return build(Model(**options["model"]), CHARSET.classes, 32, options["data"]["channels"]).eval()


def same(network, path: Path, runtime: str, batch: int, width: int) -> None:
    images = torch.rand(batch, network.channels, 32, width) * 2 - 1
    with torch.inference_mode():
        expected = network(images)
    found = torch.from_numpy(RUNTIMES[runtime](path.read_bytes(), None)(images.numpy()))
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-3)
    texts = [Decoder(CHARSET, network.model.head)(logits).texts for logits in (expected, found)]
    assert texts[0] == texts[1]


@pytest.mark.parametrize("recipe", NAMES)
@pytest.mark.slow
def test_every_recipe_is_computed_alike_by_every_runtime(recipe, tmp_path):
    network = made(recipe)
    path = export(network, tmp_path / "net.onnx", CHARSET.characters)
    for runtime in RUNTIMES:
        pytest.importorskip(runtime)
        for batch, width in ((1, 100), (3, 100), (2, 168)):
            same(network, path, runtime, batch, width)


@pytest.mark.parametrize(
    "model", [Model(head="attention", hidden=8, longest=3, rectifier="tps")], ids=["attention, tps"]
)
def test_what_is_hard_to_trace_is_computed_alike(model, tmp_path):
    torch.manual_seed(0)
    network = build(model).eval()
    path = export(network, tmp_path / "net.onnx", CHARSET.characters)
    for batch, width in ((1, 100), (3, 140)):
        same(network, path, "onnxruntime", batch, width)


def test_one_command_writes_every_form_and_checks_it(tmp_path, capsys):
    for n in range(4):
        Image.fromarray(noise(seed=n)).save(tmp_path / f"{n}.png")
    forms = {"out": "crnn.onnx", "int8": "int8.onnx", "triton": "repository"}
    forms |= {"torch-export": "crnn.pt2"} if PROGRAMS else {}
    options = [word for name, file in forms.items() for word in (f"--{name}", str(tmp_path / file))]
    exporting.main(["--checkpoint", str(saved(tmp_path)), "--pictures", str(tmp_path), *options])
    said = capsys.readouterr().out
    assert "onnxruntime: 4 of 4 texts as torch" in said
    images = np.zeros((5, 1, 32, 100), np.float32)
    place = tmp_path / "repository" / "crnn"
    [logits] = onnxruntime.InferenceSession(place / "1" / "model.onnx").run(None, {"images": images})
    assert logits.shape == (5, 26, 4)
    assert (place / "characters.txt").read_text().split("\n") == ["", "a", "b", "c", ""]
    assert "dims: [ 1, 32, -1 ]" in (place / "config.pbtxt").read_text()
    rounded = onnx.load(tmp_path / "int8.onnx").graph
    makers = {name: node.op_type for node in rounded.node for name in node.output}
    convolutions = [node for node in rounded.node if node.op_type == "Conv"]
    assert [makers.get(node.input[0]) == "DequantizeLinear" for node in convolutions] == [False, *[True] * 6]


def test_torchs_own_program_takes_any_batch(tmp_path):
    network = build(Model(hidden=8), 4).eval()
    if not PROGRAMS:
        with pytest.raises(UserError, match=r"of torch 2\.2 and later; this is 2\.1"):
            exporting.export_program(network, tmp_path / "crnn.pt2")
        return
    program = torch.export.load(exporting.export_program(network, tmp_path / "crnn.pt2")).module()
    assert program(torch.zeros(5, 1, 32, 100), None, None).shape == (26, 5, 4)


def test_the_configuration_is_one_that_triton_knows(tmp_path):
    model_config = pytest.importorskip("tritonclient.grpc.model_config_pb2")
    from google.protobuf import text_format

    from models.engines.triton import write_repository

    place = write_repository(build(Model(hidden=8), 4), tmp_path, "crnn", "abc")
    config = text_format.Parse((place / "config.pbtxt").read_text(), model_config.ModelConfig())
    assert (config.name, config.backend, config.max_batch_size) == ("crnn", "onnxruntime", 64)
    assert list(config.input[0].dims) == [1, 32, -1] and list(config.output[0].dims) == [-1, 4]
    assert config.HasField("dynamic_batching")


def test_a_file_that_computes_something_else_is_refused(tmp_path, monkeypatch):
    monkeypatch.setitem(
        RUNTIMES, "onnxruntime", lambda content, dtype: lambda images: np.zeros((26, 16, 4), np.float32)
    )
    with pytest.raises(UserError, match="onnxruntime does not compute what torch does"):
        exporting.main(["--checkpoint", str(saved(tmp_path)), "--out", str(tmp_path / "net.onnx")])


def test_what_cannot_be_checked_is_not_taken_for_a_missing_runtime(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(exporting, "RUNTIMES", {"onnxruntime": lambda content, dtype: None})
    with pytest.raises(UserError, match="are 16 px high"):
        exporting.check_runtimes(b"", Recogniser.load(saved(tmp_path), device="CPU"), [torch.zeros(1, 1, 16, 100)])
    assert "not installed" not in capsys.readouterr().out


def test_a_runtime_that_is_missing_is_said(tmp_path, monkeypatch, capsys):
    def missing(content, dtype):
        raise UserError("no such package")

    monkeypatch.setattr(exporting, "RUNTIMES", {"openvino": missing})
    exporting.main(["--checkpoint", str(saved(tmp_path)), "--out", str(tmp_path / "net.onnx")])
    assert "openvino: not installed, not checked" in capsys.readouterr().out


def test_a_broken_picture_is_named_and_the_others_are_compared(tmp_path, capsys):
    reader = exporting.Recogniser.load(saved(tmp_path))
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "broken.jpg").write_bytes(b"GIF89a")
    with pytest.raises(UserError, match="none of 1 images can be read"):
        list(exporting.image_batches(reader, photos))
    Image.new("L", (100, 32), 200).save(photos / "word.png")
    assert sum(map(len, exporting.image_batches(reader, photos))) == 1
    assert "broken.jpg" in capsys.readouterr().err


def test_onnx_that_is_not_installed_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(exporting, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="needs onnx: pip install"):
        exporting.main(["--checkpoint", str(saved(tmp_path)), "--out", str(tmp_path / "net.onnx")])


def test_without_a_checkpoint_or_pictures_nothing_is_written(tmp_path):
    with pytest.raises(UserError, match="no trained checkpoint"):
        exporting.main(["--checkpoints", str(tmp_path), "--recipe", "rare", "--out", str(tmp_path / "net.onnx")])
    (tmp_path / "none").mkdir()
    with pytest.raises(UserError, match="no images"):
        exporting.main(["--checkpoint", str(saved(tmp_path)), "--pictures", str(tmp_path / "none")])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best.pt", "none"]
