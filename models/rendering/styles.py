"""How a word becomes an image: one function a style, and the table that names them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from PIL import Image

from models.rendering.drawing import draw
from models.rendering.fonts import Face, find_faces, plain_faces
from models.rendering.hard import HEIGHT, hard
from models.rendering.lines import lines, signs, vertical
from models.rendering.plates import plates
from models.rendering.street import MARKS, street


def draw_plain(word: str, rng: np.random.Generator, faces: Sequence[Face]) -> np.ndarray:
    """Dark text on a light ground, a little stretched: what a few hundred training steps can learn."""
    mask = draw(word, faces[int(rng.integers(len(faces)))])
    height = int(rng.integers(22, 28))
    stretch = rng.uniform(0.85, 1.1)
    width = max(round(mask.shape[1] * height / mask.shape[0] * stretch), 1)
    ink = np.asarray(Image.fromarray(mask).resize((width, height), Image.Resampling.BILINEAR), np.float32) / 255
    left, right = rng.integers(2, 7, 2)
    top = rng.integers(1, HEIGHT - height)
    ground, text = rng.uniform(150, 255), rng.uniform(0, 90)
    image = np.full((HEIGHT, width + left + right), ground, np.float32)
    image[top : top + height, left : left + width] += ink * (text - ground)
    image += rng.standard_normal(image.shape, np.float32) * 4
    return np.clip(image, 0, 255).astype(np.uint8)


@dataclass(frozen=True)
class Style:
    """How words are drawn."""

    draw: Callable[[str, np.random.Generator, Sequence[Face]], np.ndarray]
    case: str  # as words are spelled unless it is asked otherwise
    faces: Callable[[Sequence[Face]], tuple[Face, ...]] = tuple  # those it draws with, of some
    marks: frozenset[str] = frozenset()  # characters that it draws besides the words' own
    version: int = 1  # goes up when the same options would give other bytes


STYLES = {
    "plain": Style(draw_plain, "lower", plain_faces),
    "hard": Style(hard, "mixed"),  # as Synth90k itself
    "street": Style(street, "mixed", marks=MARKS, version=4),
    "lines": Style(lines, "mixed", version=2),
    "signs": Style(signs, "mixed"),
    "vertical": Style(vertical, "mixed"),
    "plates": Style(plates, "mixed"),
}


@lru_cache(maxsize=len(STYLES))
def bundled_faces(style: str) -> tuple[Face, ...]:
    return STYLES[style].faces(find_faces())


def render(word: str, rng: np.random.Generator, style: str = "hard", faces: Sequence[Face] | None = None) -> np.ndarray:
    """One image of `word`: (31 or 32, W) uint8, grey, W by the length of the word.

    The same state of `rng` gives the same bytes. `faces` come from find_faces; None: those of the style.
    Raises FontError when they cannot draw the word.
    """
    return STYLES[style].draw(word, rng, bundled_faces(style) if faces is None else faces)
