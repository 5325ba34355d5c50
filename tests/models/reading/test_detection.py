"""Whole photos: their lines are cut out upright, in order, parted into words where the recogniser knows no space."""

from __future__ import annotations

import csv
import sys

import numpy as np
import pytest
from matplotlib.font_manager import findfont
from PIL import Image, ImageDraw, ImageFont

from bench.errors import UserError
from models import demo
from models.data.image import Shape
from models.reading.detection import (
    LineDetector,
    cut_out,
    draw_page,
    in_reading_order,
    may_be_page,
    read_page,
    word_spans,
)
from models.reading.recogniser import Reading, Recogniser
from tests.support import ROOT

LINES = ["STOP HERE", "available", "invoice 42"]
READ = ["stop here", "available", "invoice 42"]
WEIGHTS = ["--checkpoint", str(ROOT / "models" / "weights" / "crnn.safetensors")]


def reading(text, confidence):
    return Reading(text, confidence, [confidence] * len(text), [], np.zeros((len(text), 1)), "")


@pytest.fixture(scope="module")
def shipped():
    return Recogniser.load("crnn")


def page(lines=LINES):
    """Black on white, and the box of each line, clockwise from its top left corner."""
    image = Image.new("RGB", (600, 120 * len(lines)), "white")
    pen, font = ImageDraw.Draw(image), ImageFont.truetype(findfont("DejaVu Sans"), 40)
    boxes = []
    for i, text in enumerate(lines):
        left, top, right, bottom = pen.textbbox((60, 30 + 120 * i), text, font)
        pen.text((60, 30 + 120 * i), text, "black", font)
        left, top, right, bottom = left - 5, top - 5, right + 5, bottom + 5
        boxes.append(np.array([[left, top], [right, top], [right, bottom], [left, bottom]], np.float32))
    return image, boxes


def test_a_page_is_read_line_by_line_and_word_by_word(shipped):
    image, boxes = page()
    _, lines = read_page(image, lambda _: boxes, shipped)
    assert [line.text for line in lines] == READ
    assert [len(line.words) for line in lines] == [2, 1, 2]
    assert all(line.confidence == min(word.confidence for word in line.words) for line in lines)


@pytest.mark.parametrize("degrees", [15, -30, 90])
def test_a_line_that_is_turned_is_cut_out_upright(degrees, shipped):
    image, [box] = page(["available"])
    turned = image.rotate(degrees, Image.Resampling.BICUBIC, expand=True, fillcolor="white")
    angle = np.deg2rad(-degrees)
    around = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    moved = (box - np.array(image.size) / 2) @ around.T + np.array(turned.size) / 2
    if degrees == 90:  # a detector begins with the upper left corner of the box, whichever way its text runs
        moved = moved[[1, 2, 3, 0]]
    cut = cut_out(turned, moved.astype(np.float32))
    assert cut.shape[1] > 2 * cut.shape[0]
    upright = shipped(cut), shipped(np.ascontiguousarray(cut[::-1, ::-1]))
    # Of a line that runs up or down it is not known which: it may lie on its head.
    assert "available" in [one.text for one in upright[: 2 if degrees == 90 else 1]]


def test_boxes_come_in_the_order_of_reading():
    def box(left, top, height=20):
        return np.array([[left, top], [left + 50, top], [left + 50, top + height], [left, top + height]], np.float32)

    boxes = [box(200, 4), box(10, 0), box(10, 40), box(100, 44), box(10, 100)]
    mixed = in_reading_order([boxes[i] for i in (4, 3, 0, 2, 1)])
    assert [tuple(one[0]) for one in mixed] == [(10, 0), (200, 4), (10, 40), (100, 44), (10, 100)]


@pytest.mark.parametrize("dark", [True, False])
def test_words_are_parted_at_gaps_and_letters_are_not(dark):
    line = np.full((40, 300, 3), 250 if dark else 20, np.uint8)
    for begin in (10, 30, 50, 120, 140, 250):  # letters 15 px wide: 5 px between, then 55 and 95
        line[8:32, begin : begin + 15] = 30 if dark else 240
    assert word_spans(line) == [(6, 69), (116, 159), (246, 269)]
    assert word_spans(np.full((40, 100, 3), 200, np.uint8)) == [(0, 100)]


def test_a_recogniser_of_lines_gets_whole_lines(shipped, monkeypatch):
    image, boxes = page()
    monkeypatch.setattr(Recogniser, "__call__", lambda _, images: [reading(str(one.shape[1]), 1) for one in images])
    monkeypatch.setattr(shipped, "shape", Shape(32, 320, 1, keep_ratio=True))
    _, lines = read_page(image, lambda _: boxes, shipped)
    assert [line.text for line in lines] == [str(round(np.ptp(box[:, 0]))) for box in boxes]


def test_what_was_found_is_drawn(shipped):
    image, boxes = page()
    drawn = np.asarray(draw_page(*read_page(image, lambda _: boxes, shipped)))
    assert drawn.shape == (360, 1200, 3)
    red = (drawn[:, :600, 0] > 200) & (drawn[:, :600, 1] < 80)
    assert red.sum() > 1000 and (drawn[:, 600:] < 100).sum() > 1000  # boxes on the left, texts on the right


def test_only_what_was_read_badly_and_is_large_may_be_a_page():
    assert may_be_page(1000, 700, reading("", 0.0)) and may_be_page(1000, 700, reading("e", 0.3))
    assert not may_be_page(1000, 700, reading("word", 0.9))
    assert not may_be_page(1000, 250, reading("e", 0.3))  # as long as a line
    assert not may_be_page(180, 150, reading("e", 0.3))


def test_the_demo_says_what_is_missing_and_what_would_help(tmp_path, monkeypatch, capsys):
    page()[0].save(tmp_path / "page.png")
    monkeypatch.setitem(sys.modules, "rapidocr", None)
    with pytest.raises(UserError, match=r"--detect needs the detector.*requirements-detect.txt"):
        demo.main([str(tmp_path / "page.png"), *WEIGHTS, "--detect"])
    demo.main([str(tmp_path / "page.png"), *WEIGHTS])
    assert "--detect finds its lines first" in capsys.readouterr().err


def test_the_demo_prints_writes_and_draws_lines(tmp_path, monkeypatch, capsys):
    image, boxes = page()
    image.save(tmp_path / "page.png")
    (tmp_path / "broken.png").write_bytes(b"no")
    monkeypatch.setattr(demo, "LineDetector", lambda: lambda _: boxes)
    demo.main([str(tmp_path / "page.png"), "--detect", *WEIGHTS, "--show", str(tmp_path / "shown")])
    assert f"{tmp_path / 'page.png'} at {boxes[0][0, 0]:.0f},{boxes[0][0, 1]:.0f}: stop here" in capsys.readouterr().out
    assert Image.open(tmp_path / "shown" / "page.read.png").size == (1200, 360)
    both = [str(tmp_path / "page.png"), str(tmp_path / "broken.png")]
    with pytest.raises(SystemExit) as ended:
        demo.main([*both, "--detect", *WEIGHTS, "--csv", str(tmp_path / "out.csv")])
    assert ended.value.code == 1
    rows = list(csv.DictReader((tmp_path / "out.csv").open(newline="")))
    assert [row["text"] for row in rows] == [*READ, ""]
    assert len(rows[0]["box"].split()) == 8 and rows[3]["error"]
    with pytest.raises(UserError, match="--sheet shows words"):
        demo.main([*both, "--detect", *WEIGHTS, "--sheet", str(tmp_path / "sheet.png")])


def test_the_detector_itself_finds_the_lines(shipped):
    pytest.importorskip("rapidocr")  # requirements-detect.txt
    _, lines = read_page(page()[0], LineDetector(), shipped)
    assert [line.text for line in lines] == READ
