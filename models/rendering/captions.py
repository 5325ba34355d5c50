"""Texts beside images, for a person to read, in faces that have their characters.

DejaVu Sans, which comes with matplotlib, has no Chinese. What it lacks is drawn in a face of the system's; where there
is none either, one line says so and what to install, and the characters stay boxes.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

from PIL import ImageDraw, ImageFont

from bench.files import warn
from models.rendering.fonts import SUFFIXES, Face, FontError, coverage

LIKELY = re.compile(r"cjk|hei|song|ming|kai|han|gothic|unicode|fallback|noto", re.IGNORECASE)
PLAIN_WEIGHT = re.compile(r"regular|medium|[^a-z]r[^a-z]|microhei|zenhei|fallback", re.IGNORECASE)


@lru_cache(maxsize=64)
def caption_faces(characters: frozenset[str]) -> tuple[Face, ...]:
    """DejaVu Sans, and the system's faces that have most of what it and the others before lack."""
    from matplotlib.font_manager import findfont, findSystemFonts

    faces = [Face(findfont("DejaVu Sans"))]
    missing = {c for c in characters if not c.isspace()} - coverage(faces[0])
    files = [path for path in findSystemFonts() if path.lower().endswith(tuple(SUFFIXES))] if missing else []
    for path in sorted(files, key=lambda path: (not LIKELY.search(path), not PLAIN_WEIGHT.search(path), path)):
        if not missing:
            break
        try:
            found = missing & coverage(Face(path))
        except FontError:
            continue
        if found:
            faces.append(Face(path))
            missing -= found
    if missing:
        some = "".join(sorted(missing)[:8])
        warn(f"no font here has {some}: drawn as boxes; install one, fonts-noto-cjk on Debian, for Chinese")
    return tuple(faces)


def draw_caption(pen: ImageDraw.ImageDraw, place: tuple[float, float], text: str, size: int) -> None:
    """Write a text in black, `size` px high, from its upper left corner: each character in a face that has it."""
    faces = caption_faces(frozenset(text))
    x, y = place
    ascent = load_caption_font(faces[0], size).getmetrics()[0]
    for face, run in face_runs(text, faces):
        font = load_caption_font(face, size)
        pen.text((x, y + ascent), run, "black", font, anchor="ls")
        x += font.getlength(run)


def face_runs(text: str, faces: Iterable[Face]) -> list[tuple[Face, str]]:
    """A text in pieces, each with the first face that has its characters; the first of all where none has."""
    faces = tuple(faces)
    runs: list[tuple[Face, str]] = []
    for character in text:
        face = next((one for one in faces if character in coverage(one)), faces[0])
        if runs and runs[-1][0] == face:
            runs[-1] = face, runs[-1][1] + character
        else:
            runs.append((face, character))
    return runs


@lru_cache(maxsize=16)
def load_caption_font(face: Face, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(face.path, size, index=face.index)


def caption_families(text: str) -> list[str]:
    """The same faces by the names of their families, for matplotlib, which takes the first that has a glyph."""
    from matplotlib.font_manager import FontProperties, fontManager

    families = []
    for face in caption_faces(frozenset(text)):
        fontManager.addfont(face.path)
        families.append(FontProperties(fname=face.path).get_name())
    return families
