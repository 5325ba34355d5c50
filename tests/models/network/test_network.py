"""Recognisers made of parts: what they promise about padding, what is refused, and what exports."""

import dataclasses
import pickle
import typing

import pytest
import torch

from bench.errors import UserError
from models.crnn import CRNN
from models.engines import onnx_file
from models.engines.onnx_file import exporter_options
from models.network.backbones import BACKBONES
from models.network.heads import pad_labels
from models.network.model import Model
from models.network.network import ModelError, Network, build
from models.network.recurrent import SEQUENCES


def pictures(*widths, channels=1, height=32):
    generator = torch.Generator().manual_seed(0)
    return torch.rand(len(widths), channels, height, max(widths), generator=generator) * 2 - 1, torch.tensor(widths)


@pytest.fixture(autouse=True)
def _same_every_time():
    torch.manual_seed(0)


def test_the_options_name_every_part():
    hints = typing.get_type_hints(Model)
    assert typing.get_args(hints["backbone"]) == tuple(BACKBONES)
    assert typing.get_args(hints["sequence"]) == tuple(SEQUENCES)


@pytest.mark.parametrize(
    "model",
    [
        Model(),
        Model("densenet_cifar", "none"),
        Model("vgg_unpadded", "gru", hidden=64),
        Model("vgg", "bilstm_squeezed", "attention", hidden=64, embedding=16),
        Model("shufflenetv2_cifar", "bilstm_projected", "attention", "tps", hidden=64),
    ],
    ids=lambda m: "-".join([m.backbone, m.sequence, m.head, m.rectifier]),
)
@torch.no_grad()
def test_a_text_does_not_depend_on_its_neighbours(model):
    recogniser = build(model).eval()
    images, widths = pictures(96, 61, 40)
    together = recogniser(images, widths)
    for i, width in enumerate(widths):
        alone = recogniser(images[i : i + 1, ..., :width])
        torch.testing.assert_close(together[: len(alone), i], alone[:, 0], rtol=0, atol=1e-4)
        noisy = images.clone()
        noisy[i, ..., width:] = 5
        torch.testing.assert_close(recogniser(noisy, widths)[: len(alone), i], together[: len(alone), i])


def test_ctc_steps_are_the_time_steps():
    recogniser = build(Model(), classes=11).eval()
    images, widths = pictures(100, 50)
    assert recogniser(images, widths).shape == (26, 2, 11)
    assert recogniser.time_steps(widths).tolist() == [26, 13]
    assert recogniser.time_steps(100) == 26


def test_straightened_pictures_have_one_length():
    recogniser = build(Model("vgg", rectifier="tps", hidden=16))
    assert recogniser.time_steps(torch.tensor([300, 20])).tolist() == [26, 26]
    assert recogniser.eval()(pictures(300)[0]).shape[0] == 26


@torch.no_grad()
def test_the_plain_crnns_weights_load_and_give_its_logits():
    crnn, recogniser = CRNN().eval(), build(Model()).eval()
    recogniser.load_state_dict(crnn.state_dict())
    images, _ = pictures(100, 100)
    torch.testing.assert_close(recogniser(images), crnn(images))


@pytest.mark.parametrize(
    "changes, reason",
    [
        ({"teacher_forcing": 1.5}, "not 1.5"),
        ({"pretrained": "imagenet"}, "vgg has no ImageNet weights; densenet121, mobilenetv2_cifar have"),
        ({"backbone": "densenet121", "pretrained": "imagenet"}, "set data.channels to 3"),
        ({"embedding": 32}, "the head is ctc"),
        ({"head": "attention", "longest": 0}, "longest is 1 to 1000, not 0"),
        ({"rectifier": "tps", "fiducials": 7}, "even number"),
        ({"rectifier": "tps", "rectified_width": 2}, "no time step"),
        ({"hidden": 0}, "hidden is 1 to 4096, not 0"),
    ],
)
def test_what_cannot_work_is_refused_with_the_reason(changes, reason):
    with pytest.raises(ModelError, match=reason):
        build(dataclasses.replace(Model(), **changes))


def test_a_height_that_leaves_nothing_is_refused():
    with pytest.raises(ModelError, match="vgg leaves nothing of images 16 px high"):
        build(Model(), height=16)
    with pytest.raises(ModelError, match="1 classes"):
        build(Model(), classes=1)
    with pytest.raises(ModelError, match="not 2"):
        build(Model(), channels=2)


def test_pictures_that_cannot_be_read_are_refused():
    recogniser = build(Model(hidden=8))
    with pytest.raises(ModelError, match="3 px wide; vgg needs 4 px"):
        recogniser(*pictures(100, 3))
    with pytest.raises(ModelError, match="3 channels and are 32 px high"):
        recogniser(pictures(100, channels=3)[0])
    assert recogniser(*pictures(100, 4)).shape[0] == 26


MISFITS = {  # what a file given as --model.pretrained holds, and what is said of it
    "nothing": (None, "no file at"),
    "another network": ({"features.0.0.weight": torch.zeros(1)}, "do not fit mobilenetv2_cifar: .*Missing key"),
    "no features": ({"fc.weight": torch.zeros(1)}, "do not fit mobilenetv2_cifar: .*Missing key"),
    "a list": ([1, 2], "holds no table of weights"),
    "code": ({"features.0.0.weight": pickle.Unpickler}, "more than weights"),
}


def pretrained(path) -> Model:
    return Model("mobilenetv2_cifar", "none", pretrained=str(path))


@pytest.mark.parametrize("name", MISFITS)
def test_imagenet_weights_that_cannot_be_used_are_one_clear_line(name, tmp_path):
    content, reason = MISFITS[name]
    if content is not None:
        torch.save(content, tmp_path / "file.pth")
    with pytest.raises(UserError, match=reason) as refusal:
        build(pretrained(tmp_path / "file.pth"), channels=3)
    assert "\n" not in str(refusal.value) and len(str(refusal.value)) < 500


def test_a_file_cut_short_is_refused_given_or_in_the_cache(tmp_path, monkeypatch):
    (tmp_path / "checkpoints").mkdir()
    cut = tmp_path / "checkpoints" / "mobilenet_v2-b0353104.pth"
    cut.write_bytes(b"PK\x03\x04 cut off")
    with pytest.raises(UserError, match="not a readable weights file"):
        build(pretrained(cut), channels=3)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    with pytest.raises(UserError, match=r"b0353104.pth: not a readable weights file; delete it"):
        build(pretrained("imagenet"), channels=3)


def test_offline_imagenet_says_where_the_file_belongs(tmp_path, monkeypatch):
    def offline(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    with pytest.raises(UserError, match=r"neither in .*checkpoints.*mobilenet_v2.* copy that file there"):
        build(pretrained("imagenet"), channels=3)


@pytest.mark.parametrize("head", ["ctc", "attention"])
def test_both_heads_learn_one_picture(head):
    recogniser = build(Model("vgg", "gru", head, hidden=32, longest=4), classes=5)
    images, labels, lengths = pictures(40)[0], torch.tensor([1, 1, 3]), torch.tensor([3])
    optimizer = torch.optim.Adam(recogniser.parameters(), 3e-3)
    targets, losses = pad_labels(labels, lengths), []
    for _ in range(12):
        logits = recogniser(images, targets=targets)
        loss = recogniser.head.loss(logits, torch.tensor([len(logits)]), labels, lengths)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]


def test_the_recurrent_type_reaches_every_recurrent_layer():
    recogniser = build(Model(hidden=8))
    recogniser.recur_in(torch.float32)
    assert [layer.dtype for layer in recogniser.sequence] == [torch.float32] * 2


def test_a_recogniser_pickles_its_weights_only():
    assert all(isinstance(v, torch.Tensor) for v in Network(Model(hidden=8), 5, 32, 1).state_dict().values())


@pytest.mark.parametrize(
    "model",
    [Model("shufflenetv2_cifar", "none"), Model("vgg_unpadded", "gru", "attention", "tps", hidden=16, longest=3)],
    ids=["shufflenet", "attention-tps"],
)
@pytest.mark.filterwarnings("ignore")  # the exporter's own, about tracing and its successor
@torch.no_grad()
def test_a_recogniser_exports_for_any_batch_and_width(model, tmp_path):
    pytest.importorskip("onnx")
    runtime = pytest.importorskip("onnxruntime")
    recogniser = build(model).eval()
    axes = {"images": {0: "pictures", 3: "width"}}
    torch.onnx.export(
        recogniser, (pictures(100, 100)[0],), str(tmp_path / "net.onnx"), input_names=["images"], dynamic_axes=axes,
        opset_version=16, **exporter_options(),
    )  # fmt: skip
    session = runtime.InferenceSession(tmp_path / "net.onnx")
    for widths in ((100,), (140, 140, 140)):
        images, _ = pictures(*widths)
        exported = torch.from_numpy(session.run(None, {"images": images.numpy()})[0])
        torch.testing.assert_close(exported, recogniser(images), rtol=0, atol=1e-4)


def test_without_onnx_the_export_names_what_to_install(monkeypatch, tmp_path):
    """Before torch looks for it, whose exception is another one in each version."""
    monkeypatch.setattr(onnx_file.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(UserError, match=r"pip install -r requirements-extra\.txt"):
        onnx_file.export(build(Model(hidden=8)).eval(), tmp_path / "net.onnx", "abc")
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("head", ["ctc", "attention"])
@pytest.mark.parametrize("sequence", [name for name in SEQUENCES if name != "none"])
def test_a_new_recogniser_already_tells_columns_apart(sequence, head):
    """With torch's own start features and logits vary by about 0.01 over the columns: CTC then stays on its plateau of
    blanks, and attention has nothing to choose by."""
    recogniser = build(Model(sequence=sequence, head=head)).train()
    with torch.no_grad():
        features = recogniser.features(torch.rand(4, 1, 32, 100) * 2 - 1)[0]
        assert features.std(0).mean() > 0.05
        assert head == "attention" or recogniser.head(features).std(0).mean() > 0.05


@pytest.mark.parametrize("head, number", [("ctc", 4), ("attention", 5)])
def test_the_forget_gates_of_lstms_start_open(head, number):
    biases = [b for name, b in build(Model(head=head)).named_parameters() if "bias_ih" in name]
    assert len(biases) == number and all((b.chunk(4)[1] == 1).all() and (b.chunk(4)[0] == 0).all() for b in biases)
