"""Calibration of one's own weights: words and lines are drawn, read, and the numbers are found again."""

from __future__ import annotations

import json
import shutil

import pytest

from bench.errors import UserError
from crnn_bench import Recogniser
from models import calibrate, weights

FEW = ["--count", "120"]


@pytest.fixture
def own(tmp_path):
    """Weights outside the checkout, which nothing is known of."""
    return str(shutil.copy(weights.path("crnn_small"), tmp_path / "own.safetensors"))


def test_what_is_written_beside_weights_is_what_the_recogniser_says(own, capsys, tmp_path):
    image = next(iter(calibrate.draw_words(calibrate.COMMAND.parse([own, *FEW]))))[1]
    before = Recogniser.load(own)(image).confidence
    calibrate.main([own, *FEW, "--write"])
    said = capsys.readouterr().out
    after = Recogniser.load(own)(image).confidence
    [numbers] = [json.loads(path.read_text()) for path in tmp_path.glob("*.json")]
    assert str(numbers) in said
    assert "ECE" in said
    assert before != after


def test_lines_are_drawn_as_they_are_written_with_a_face_that_has_them(own, tmp_path, capsys):
    (tmp_path / "texts.txt").write_text("Total: 42.50\n\u8f66 (car)\nA/B (C)\n", encoding="utf8")
    options = [own, *FEW, "--texts", str(tmp_path / "texts.txt"), "--styles", "lines,signs"]
    drawn = [text for text, _ in calibrate.draw_words(calibrate.COMMAND.parse(options))]
    assert set(drawn) == {"Total: 42.50", "A/B (C)"}
    assert "1 texts are left out" in capsys.readouterr().out


def test_nothing_to_draw_is_refused(own, tmp_path):
    (tmp_path / "texts.txt").write_text("\u8f66\n", encoding="utf8")
    with pytest.raises(UserError, match="none of its texts"):
        list(calibrate.draw_words(calibrate.COMMAND.parse([own, "--texts", str(tmp_path / "texts.txt")])))


def test_ones_own_words_are_read_in_place_of_drawn_ones(own, tmp_path, capsys):
    """They are what the numbers are fitted to; too few, or a split that is not there, is refused."""
    drawn = list(calibrate.draw_words(calibrate.COMMAND.parse([own, "--count", "110"])))
    for split, count in (("val", 110), ("test", 99)):
        (tmp_path / "mine" / split).mkdir(parents=True)
        rows = []
        for number, (text, image) in enumerate(drawn[:count]):
            (tmp_path / "mine" / split / f"{number}.jpg").write_bytes(image)
            rows.append(f"{number}.jpg\t{text}\n")
        (tmp_path / "mine" / split / "labels.tsv").write_text("".join(rows), encoding="utf8")
    calibrate.main([own, "--dataset", str(tmp_path / "mine"), "--write"])
    said = capsys.readouterr().out
    assert "of 110 words right" in said and list(tmp_path.glob("own.safetensors.confidence.json"))
    with pytest.raises(UserError, match="99 images in test, want 100"):
        calibrate.main([own, "--dataset", str(tmp_path / "mine"), "--split", "test"])
