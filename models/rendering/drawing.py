"""From a word and a face to a mask: FreeType draws each glyph once, numpy sets them in line."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from PIL import ImageFont

from models.rendering.fonts import Face, FontError

EM = 36  # pixels: capitals are then about 26 high, as high as most get in an image of 31
ASCENT, DESCENT = round(0.8 * EM), round(0.06 * EM)  # pixels that most Chinese characters reach from the baseline
LOWEST = EM // 2  # pixels: a dash is not blown up to the height of a letter


class Glyph(NamedTuple):
    """A drawn character: `ink` (h, w) uint8, where it lies from the pen, and the pen's advance; pixels."""

    ink: np.ndarray
    left: int
    top: int
    advance: float


@lru_cache(maxsize=4096)
def load_font(face: Face) -> ImageFont.FreeTypeFont:
    try:
        # The basic layout engine is in every Pillow; Raqm is not, and would place glyphs differently.
        return ImageFont.truetype(face.path, EM, index=face.index, layout_engine=ImageFont.Layout.BASIC)
    except OSError as problem:
        raise FontError(f"{face.path}: FreeType cannot open it ({problem})") from None


@lru_cache(maxsize=200_000)  # 2,000 faces times 62 letters is 124,000, more than a Chinese set's 5,990; 1 KB each
def glyph(face: Face, character: str) -> Glyph:
    font = load_font(face)
    mask, (left, top) = font.getmask2(character, mode="L", anchor="ls")
    shape = mask.size[::-1]
    ink = np.frombuffer(bytes(mask), np.uint8).reshape(shape) if all(shape) else np.zeros(shape, np.uint8)
    return Glyph(ink, left, top, font.getlength(character))


def draw(word: str, face: Face, spacing: float = 0.0, box: bool = False) -> np.ndarray:
    """The word as coverage, (h, w) uint8, cropped to its ink but at least LOWEST high.

    `spacing` pixels are added between letters. `box`: at least as high as a line's characters are, so that a stroke or
    a comma keeps its size and place. Raises FontError when the face draws nothing for the word.
    """
    pen, placed = 0.0, []
    for character in word:
        ink, left, top, advance = glyph(face.of(character), character)
        if ink.size:
            placed.append((ink, round(pen) + left, top))
        pen += max(advance + spacing, 1.0)
    if not placed:
        raise FontError(f"{face.name} draws nothing for {word!r}")
    x0, y0 = min(x for _, x, _ in placed), min(y for _, _, y in placed)
    width = max(x + ink.shape[1] for ink, x, _ in placed) - x0
    bottom = max(y + ink.shape[0] for ink, _, y in placed)
    if box:
        y0, bottom = min(y0, -ASCENT), max(bottom, DESCENT)
    height = bottom - y0
    y0 -= max(LOWEST - height, 0) // 2
    mask = np.zeros((max(height, LOWEST), width), np.uint8)
    for ink, x, y in placed:
        at = mask[y - y0 : y - y0 + ink.shape[0], x - x0 : x - x0 + ink.shape[1]]
        np.maximum(at, ink, out=at)
    return mask
