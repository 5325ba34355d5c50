"""Words in three lines: pictures of every kind, one or many, by every engine, from every kind of weights."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bench.errors import UserError
from models import Recogniser, convert, weights
from models.engines import remembered
from models.network.model import Model
from models.reading import recogniser
from models.weights import checkpoint
from tests.support import ROOT
from tests.support.checkpoints import LETTERS, saved
from tests.support.images import encoded, gif, noise, wide_png


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    return saved(tmp_path_factory.mktemp("trained"))


@pytest.fixture(scope="module")
def read(trained) -> Recogniser:
    return Recogniser.load(trained, device="CPU", views=False)


def test_every_kind_of_picture_is_read_alike(read, tmp_path):
    array = noise()
    (tmp_path / "word.png").write_bytes(encoded(array))
    kinds = [tmp_path / "word.png", str(tmp_path / "word.png"), encoded(array), array, Image.fromarray(array)]
    first, *others = [read(kind) for kind in kinds]
    assert [other.confidence for other in others] == pytest.approx([first.confidence] * 4, abs=1e-6)
    assert {other.raw for other in others} == {first.raw}


def test_what_a_reading_says(read):
    reading = read(noise(), alternatives=3)
    n = len(reading.text)
    assert n and 0 < reading.confidence <= 1
    assert len(reading.character_confidences) == len(reading.alignment) == n
    assert reading.seen.shape == (n, 26) and len(reading.raw) == 26
    assert all(0 <= left < right <= 1 for left, right in reading.alignment)
    assert len(reading.alternatives) == 3
    assert reading.text not in [text for text, _ in reading.alternatives]
    assert read(noise()).alternatives == []


def test_alternatives_do_not_depend_on_how_many_others_ask_for(read):
    few, many = (read(noise(), alternatives=most).alternatives for most in (1, 10))
    assert len(many) == 10 and few == many[:1]
    assert len(read(noise(), alternatives=15).alternatives) == 15


def test_the_alignment_has_a_row_for_each_character():
    rows = recogniser.character_runs(np.array([0, 1, 1, 0, 1, 3, 3, 0]))
    assert rows.tolist() == [[0, 1, 1, 0, 0, 0, 0, 0], [0, 0, 0, 0, 1, 0, 0, 0], [0, 0, 0, 0, 0, 1, 1, 0]]
    assert [recogniser.character_edges(row) for row in rows] == [(1 / 8, 3 / 8), (4 / 8, 5 / 8), (5 / 8, 7 / 8)]
    assert recogniser.character_runs(np.zeros(4, int)).shape == (0, 4)


@pytest.mark.parametrize(
    "model, data",
    [
        (Model(hidden=8), {"keep_ratio": True, "width": 320}),
        (Model(head="attention", hidden=8, longest=6), {"keep_ratio": True, "width": 200}),
    ],
    ids=["ctc", "attention"],
)
def test_a_picture_is_read_the_same_alone_and_among_others(model, data, tmp_path):
    read = Recogniser.load(saved(tmp_path, model, **data), device="CPU", batch_size=2)
    pictures = [noise(32, width, 1, seed=width) for width in (200, 40, 90, 40, 310)]
    together = read(pictures, alternatives=3)
    for picture, one in zip(pictures, together, strict=True):
        alone = read(picture, alternatives=3)
        assert (one.text, one.raw) == (alone.text, alone.raw)
        assert one.confidence == pytest.approx(alone.confidence, rel=1e-3)
        np.testing.assert_allclose(one.seen, alone.seen, atol=1e-4)
        assert [text for text, _ in one.alternatives] == [text for text, _ in alone.alternatives]
    assert bool(together[0].alternatives) == (model.head == "ctc")
    assert len(together[0].alignment) == len(together[0].text)


def test_one_searched_or_from_a_lexicon_is_aligned_too(trained, tmp_path):
    (tmp_path / "words.txt").write_text("cab\nabba\n")
    chosen = Recogniser.load(trained, device="CPU", lexicon=tmp_path / "words.txt")(noise())
    assert chosen.text in ("cab", "abba") and len(chosen.alignment) == len(chosen.text)
    assert all(left < right for left, right in chosen.alignment)
    assert len(Recogniser.load(trained, device="CPU", beam=4)(noise()).seen) > 0


def test_attention_looks_where_it_writes_the_lexicons_word(tmp_path):
    """The word is longer than what is read freely, and than `longest`: it has a row for each letter all the same."""
    path = saved(tmp_path, Model(head="attention", hidden=8, longest=3))
    (tmp_path / "words.txt").write_text("abcabcab\n")
    chosen = Recogniser.load(path, device="CPU", lexicon=tmp_path / "words.txt", views=False)
    reading, network = chosen(noise()), chosen.network.network
    assert reading.text == "abcabcab" and len(reading.alignment) == len(reading.character_confidences) == 8
    images = torch.from_numpy(chosen.prepare(noise())).permute(2, 0, 1)[None] / 127.5 - 1
    target = torch.tensor([[*LETTERS.encode(reading.text), 0]])
    with torch.inference_mode():
        looked = network.head.write(*network.features(images), target)[1]
    np.testing.assert_allclose(reading.seen, looked[:8, 0], atol=1e-4)


def test_with_attention_the_backbone_runs_once(tmp_path):
    path = saved(tmp_path, Model(head="attention", hidden=8, longest=3))
    (tmp_path / "words.txt").write_text("cab\nabba\n")
    chosen, ran = Recogniser.load(path, device="CPU", lexicon=tmp_path / "words.txt", views=False), []
    chosen.network.network.backbone.register_forward_hook(lambda *_: ran.append(1))
    assert chosen(noise()).text in ("cab", "abba") and len(ran) == 1


def test_another_engine_reads_the_same(trained, read):
    pytest.importorskip("onnxruntime")
    pictures = [noise(seed=seed) for seed in range(3)]
    found = Recogniser.load(trained, device="CPU", engine="onnxruntime")(pictures)
    assert [one.text for one in found] == [one.text for one in read(pictures)]


def test_a_phone_turns_and_a_screen_cuts_out(read):
    upright = noise()
    exif = Image.Exif()
    exif[0x0112] = 6  # turn a quarter clockwise to see it upright
    turned = encoded(np.rot90(upright).copy(), exif=exif)
    np.testing.assert_array_equal(read.prepare(turned), read.prepare(encoded(upright)))
    clear = np.dstack([np.zeros((40, 120, 3), np.uint8), np.zeros((40, 120, 1), np.uint8)])
    clear[10:30, 20:100, 3] = 255
    assert read.prepare(encoded(clear))[0, 0] == 255 and read.prepare(encoded(clear))[16, 50] == 0
    big = Image.fromarray(np.full((3000, 4000), 200, np.uint8))
    file = io.BytesIO()
    big.save(file, "JPEG")
    assert read.prepare(file.getvalue()).shape == (32, 100, 1)


BAD = {
    "empty": (lambda: b"", "the file is empty"),
    "text": (lambda: b"hello", "not an image"),
    "pdf": (lambda: b"%PDF-1.7\n%....\n1 0 obj\n", "not an image"),
    "eps": (lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image"),
    "cut off": (lambda: encoded(noise())[:3000], "not a whole image"),
    "animated": (gif, "GIF of several frames"),
    "100 megapixels": (wide_png, "10000 x 10000 px are too many"),
    "floats": (lambda: noise().astype(float), "uint8"),
    "five channels": (lambda: noise(channels=5), "uint8"),
    "a number": (lambda: 5, "int is no image"),
    "missing": (lambda: "nowhere.png", "nowhere.png: No such file"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_picture_is_refused_in_a_line(name, read):
    make, reason = BAD[name]
    with pytest.raises(UserError, match=reason) as caught:
        read(make())
    assert "\n" not in str(caught.value) and "object at" not in str(caught.value)


def test_weights_become_a_file_half_the_size_that_reads_the_same(trained, tmp_path, read, monkeypatch):
    out = tmp_path / "crnn.safetensors"
    manifest = tmp_path / "manifest.json"
    convert.main([str(trained), str(out), "--half", "--manifest", str(manifest)])
    shipped = weights.read_manifest(manifest)
    entry = weights.ShippedWeights(out.name, weights.sha256_of(out), "crnn", "abc", "squeezed to 100 px")
    assert shipped == {"crnn": entry}
    assert out.stat().st_size < 0.6 * sum(v.nbytes for v in checkpoint.read(trained)["network"].values())
    monkeypatch.setattr(weights, "FOLDER", tmp_path)
    monkeypatch.setattr(weights, "SHIPPED", shipped)
    for source in (None, "crnn", out):
        found = Recogniser.load(source, device="CPU", views=False)
        assert found(noise()).confidence == pytest.approx(read(noise()).confidence, rel=0.02)
    out.write_bytes(out.read_bytes()[:-1] + b"x")
    with pytest.raises(UserError, match="damaged or replaced"):
        Recogniser.load()


def test_every_shipped_file_is_what_the_manifest_says():
    for name, row in weights.SHIPPED.items():
        content = checkpoint.read(weights.path(name))
        assert (content["recipe"], content["charset"]) == (row.recipe, row.charset)
        kept, width = content["data"].get("keep_ratio"), content["data"]["width"]
        assert row.widths == (f"ratio kept, up to {width} px" if kept else f"squeezed to {width} px")


def test_an_unknown_engine_or_device_is_refused(trained):
    with pytest.raises(UserError, match="no engine 'quick'"):
        Recogniser.load(trained, engine="quick")
    with pytest.raises(UserError, match="no device 'TPU'"):
        Recogniser.load(trained, device="TPU")


def test_importing_models_is_light():
    code = "import sys, models; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_a_batch_of_nothing_is_refused(trained):
    with pytest.raises(UserError, match=r"batch-size is 1 to 1048576, not 0"):
        Recogniser.load(trained, device="CPU", batch_size=0)


def test_loading_changes_nothing_that_is_drawn(trained):
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    Recogniser.load(trained, device="CPU")
    assert torch.equal(torch.rand(4), expected)


def test_the_fastest_engine_is_measured_once(trained, tmp_path, monkeypatch):
    """`auto` remembers for these weights here; who names no engine gets it, other weights do not."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    before = Recogniser.load(trained, device="CPU").network.name
    found = Recogniser.load(trained, device="CPU", engine="auto").network.name
    assert before == "prepacked" and remembered.memory_file().is_relative_to(tmp_path)
    assert Recogniser.load(trained, device="CPU").network.name == found
    assert list(json.loads(remembered.memory_file().read_text()).values()) == [found]
    remembered.memory_file().write_text("{broken")
    assert Recogniser.load(trained, device="CPU").network.name == "prepacked"
