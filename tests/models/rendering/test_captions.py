"""Texts beside images, in faces that have their characters."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from models.rendering import captions
from models.rendering.fonts import coverage


def ink_of(text: str) -> np.ndarray:
    sheet = Image.new("L", (200, 30), "white")
    captions.draw_caption(ImageDraw.Draw(sheet), (2, 2), text, 14)
    return np.asarray(sheet) < 128


@pytest.fixture
def nothing_installed(monkeypatch):
    captions.caption_faces.cache_clear()
    monkeypatch.setattr("matplotlib.font_manager.findSystemFonts", lambda *_, **__: [])
    yield
    captions.caption_faces.cache_clear()


def test_latin_needs_no_face_but_the_one_that_comes_with_matplotlib(nothing_installed):
    [face] = captions.caption_faces(frozenset("Grüße"))
    assert "DejaVuSans" in face.path
    assert ink_of("word").any()


def test_what_no_face_has_is_said_in_one_line(nothing_installed, capsys):
    assert ink_of("停止").any()
    assert "no font here has 停止" in capsys.readouterr().err


def test_each_piece_is_drawn_in_the_first_face_that_has_it():
    faces = captions.caption_faces(frozenset("停止ab"))
    if len(faces) == 1:
        pytest.skip("no face with Chinese here")
    assert [text for _, text in captions.face_runs("a停止b", faces)] == ["a", "停止", "b"]
    assert set("停止") <= coverage(faces[1])
    one, other = ink_of("停停停"), ink_of("止止止")
    assert one.any() and (one != other).any()  # boxes would all look alike
