"""The demo reads what the checkpoint was trained for, and shows where."""

import csv
import dataclasses
import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from bench.errors import UserError
from models import demo, weights
from models.data.charset import Charset
from models.network.model import Model
from models.network.network import build
from models.reading.folder import FileReading
from models.reading.recogniser import Reading, Recogniser
from models.weights import checkpoint
from models.weights.file import Weights, save_weights

LETTERS = Charset("abc")


@pytest.fixture
def picture(tmp_path):
    array = np.random.default_rng(0).integers(0, 255, (40, 120), np.uint8)
    Image.fromarray(array).save(tmp_path / "word.png")
    return tmp_path / "word.png"


def trained(tmp_path, model, **data):
    torch.manual_seed(0)
    content = {
        "network": build(model, LETTERS.classes, channels=data.get("channels", 1)).state_dict(),
        "charset": LETTERS.characters,
        "data": {"height": 32, "width": 100, "channels": 1, "keep_ratio": False, **data},
        "model": dataclasses.asdict(model),
    }
    checkpoint.write(content, tmp_path / "best.pt")
    return tmp_path / "best.pt"


@pytest.mark.parametrize(
    "model, data",
    [
        (Model(hidden=8), {}),
        (Model("shufflenetv2_cifar", "none"), {"channels": 3, "keep_ratio": True, "width": 200}),
        (Model(head="attention", hidden=8, longest=6), {}),
    ],
    ids=["ctc", "colour", "attention"],
)
@pytest.mark.parametrize("extra", [[], ["--lexicon", "words.txt"]], ids=["free", "lexicon"])
def test_a_picture_is_read_and_shown(model, data, extra, picture, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "words.txt").write_text("cab\nabba\n")
    path = trained(tmp_path, model, **data)
    demo.main([str(picture), "--checkpoint", str(path), "--show", str(tmp_path / "shown"), *extra])
    line = capsys.readouterr().out.strip()
    assert line.startswith(f"{picture}: ") and line.endswith("%")
    assert (" => " in line) == (model.head == "ctc")
    if extra:
        assert line.rpartition("  ")[0].split()[-1] in ("cab", "abba")
    assert Image.open(tmp_path / "shown" / "word.read.png").size == (960, 480)


def test_drawings_overwrite_neither_their_pictures_nor_each_other(picture, tmp_path):
    path = trained(tmp_path, Model(hidden=8))
    (tmp_path / "other").mkdir()
    shutil.copy(picture, tmp_path / "other" / "word.png")
    before = picture.read_bytes()
    demo.main([str(picture), str(tmp_path / "other" / "word.png"), "--checkpoint", str(path), "--show", str(tmp_path)])
    assert picture.read_bytes() == before
    assert (tmp_path / "word.read.png").is_file() and (tmp_path / "word.read-2.png").is_file()


def test_shipped_weights_have_a_name_and_one_confidence_wherever_they_are_named(picture, capsys):
    """By their name or their file, --checkpoint or the service's --weights: as Recogniser.load says it."""
    reading = Recogniser.load("crnn_small")(picture)
    for words in (["--checkpoint", "crnn_small"], ["--weights", str(weights.path("crnn_small"))]):
        demo.main([str(picture), *words])
        assert capsys.readouterr().out.strip().endswith(f"{reading.text}  {reading.confidence:.1%}")
    raw = dataclasses.replace(Recogniser.load("crnn_small"), calibration=None)
    assert reading.confidence != raw(picture).confidence


def test_converted_weights_are_read_too(picture, tmp_path, capsys):
    state = build(Model(hidden=8), LETTERS.classes).state_dict()
    save_weights(Weights("x", state, Model(hidden=8), 4, 1), LETTERS, tmp_path / "w.safetensors")
    demo.main([str(picture), "--checkpoint", str(tmp_path / "w.safetensors"), "--beam", "5"])
    assert " => " in capsys.readouterr().out


def test_what_is_no_picture_or_no_checkpoint_is_refused(picture, tmp_path, monkeypatch, capsys):
    path = trained(tmp_path, Model(hidden=8))
    (tmp_path / "text.png").write_text("hello")
    bad = [tmp_path / "text.png", tmp_path / "none.png"]
    with pytest.raises(SystemExit) as ended:
        demo.main([*map(str, (picture, *bad, picture)), "--checkpoint", str(path)])
    said = capsys.readouterr()
    assert ended.value.code == 1 and "2 of 4 images were not read" in said.err
    for file, reason in zip(bad, ("not an image", "No such file"), strict=True):
        assert f"{file}: not read: {reason}" in said.err
    assert said.out.count(f"{picture}: ") == 2  # which are read, whatever lies beside them
    with pytest.raises(UserError, match="none of 2 images was read"):
        demo.main([*map(str, bad), "--checkpoint", str(path)])
    monkeypatch.setenv("PYTORCH_TRAIN_CHECKPOINT", str(tmp_path / "empty"))
    with pytest.raises(UserError, match="no trained checkpoint of 'rare'"):
        demo.main([str(picture), "--recipe", "rare"])


def test_what_latin_weights_cannot_read_is_said_to_be_unlikely(picture, tmp_path, capsys):
    demo.main([str(picture), "--checkpoint", str(trained(tmp_path, Model(hidden=8)))])
    said = capsys.readouterr().err
    assert "not likely to be right; these weights know 3 characters, a to c: Chinese is --recipe" in said
    read = FileReading(picture, Reading("x", 0.001, [0.1], [], np.zeros((0, 0)), "x"))
    demo.hint_at_alphabet([read], "ab\u505c")  # which know Chinese
    demo.hint_at_alphabet([replace(read, reading=replace(read.reading, confidence=0.5))], "abc")
    assert not capsys.readouterr().err


def test_a_sheet_shows_every_picture_with_its_text_under_it(picture, tmp_path):
    path = trained(tmp_path, Model(hidden=8))
    demo.main([*[str(picture)] * 8, "--checkpoint", str(path), "--sheet", str(tmp_path / "sheet.png")])
    sheet = np.asarray(Image.open(tmp_path / "sheet.png").convert("L"))
    assert sheet.shape == (2 * demo.ROW, demo.WIDTH)
    seventh = sheet[demo.ROW + 4 : demo.ROW + 36, 4 : 4 + 96]
    assert (seventh == sheet[4:36, 4 : 4 + 96]).all() and seventh.std() > 20
    assert (sheet[demo.ROW :, demo.WIDTH // 2 :] == 255).all()


def test_the_text_is_drawn_on_a_sheet():
    blank = np.full((32, 100, 1), 255, np.uint8)
    with_text, without = (np.asarray(demo.draw_reading_sheet([(blank, text)])) for text in ("word", ""))
    assert (without == 255).all() and (with_text != 255).any()


def test_a_folder_becomes_a_table_with_its_bad_files_named(picture, tmp_path, capsys):
    """As people have them: nested folders, page2 before page10, a Mac's hidden files, notes, and a broken file."""
    path = trained(tmp_path, Model(hidden=8))
    photos = tmp_path / "photos"
    (photos / "more").mkdir(parents=True)
    for name in ("page10.png", "page2.PNG", "more/word, the one.png", "._page2.png"):
        shutil.copy(picture, photos / name)
    (photos / "broken.jpg").write_bytes(b"GIF89a")
    (photos / "notes.txt").write_text("x")
    tables = ["--csv", str(tmp_path / "out.csv"), "--json", str(tmp_path / "out.json")]
    with pytest.raises(SystemExit) as ended:
        demo.main([str(photos), "--checkpoint", str(path), *tables])
    said = capsys.readouterr()
    assert ended.value.code == 1 and said.out == ""
    assert "broken.jpg: not read" in said.err and "1 of 4 images were not read" in said.err
    assert "passed over 1 that are no images by their names: notes.txt" in said.err
    rows = list(csv.DictReader((tmp_path / "out.csv").open(newline="")))
    names = ["broken.jpg", "more/word, the one.png", "page2.PNG", "page10.png"]
    assert [row["file"] for row in rows] == [str(photos / name) for name in names]
    assert rows[0]["error"] and not rows[0]["text"] and not rows[1]["error"] and 0 <= float(rows[1]["confidence"]) <= 1
    content = json.loads((tmp_path / "out.json").read_text())
    assert content["weights"] == str(path)
    assert [one["text"] or "" for one in content["images"]] == [row["text"] for row in rows]
    assert content["images"][0]["text"] is None  # which is not the text of an empty image
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="empty: no images in it"):
        demo.main([str(tmp_path / "empty"), "--checkpoint", str(path)])
