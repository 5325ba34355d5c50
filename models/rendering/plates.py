"""Number plates as photographs show them: narrow characters of one size, a frame, a view from aside.

Proportions are those of mainland China's plates (GA 36): characters half as wide as high, a dot behind the second,
which a reader leaves out.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from PIL import Image

from models.rendering.drawing import draw
from models.rendering.fonts import Face
from models.rendering.hard import colour, dilate, soften
from models.rendering.lines import HEIGHT, blur_line, downsample_line
from models.rendering.texture import crop
from models.rendering.warping import View, project

TALL = 40  # pixels of a character on the mask
LEAST_CONTRAST = 85  # grey levels: plates are made to be read
DOT = "·"
PLATE = re.compile("[\u4e00-\u9fff][A-Z][A-Z0-9]{4,6}[学警挂港澳领]?")


def dot_plates(texts: list[str]) -> list[str]:
    """Three in five number plates get the dot that is seen behind their second character."""
    return [
        f"{text[:2]}{DOT}{text[2:]}" if len(text) > 6 and i % 5 < 3 and PLATE.fullmatch(text) else text
        for i, text in enumerate(texts)
    ]


def without_dot(text: str) -> str:
    """The label of a text: number plates are written down without their dot."""
    bare = text.replace(DOT, "")
    return bare if PLATE.fullmatch(bare) else text


def plates(text: str, rng: np.random.Generator, faces: Sequence[Face]) -> np.ndarray:
    """A number plate: (32, W) uint8. The text's dot, if it has one, is drawn as a dot; nothing else is marked."""
    mask = frame(emboss(text, rng, faces[int(rng.integers(len(faces)))]), rng)
    strong = 1.0 if rng.random() < 0.7 else 2.5
    turn, slant = np.clip(rng.normal(0, (0.04, 0.08)) * strong, -0.25, 0.25)
    near = float(np.exp(np.clip(rng.normal(0, 0.06 * strong), -0.3, 0.3)))
    stretch = float(np.exp(rng.uniform(-0.25, 0.25)))
    left, top, right, bottom = rng.uniform(-2, 5, 4)
    seen = project(
        Image.fromarray(mask), View(stretch, float(slant), near, float(turn), (left, top, right, bottom)), HEIGHT
    )
    image = downsample_line(blur_line(soften(colour(seen, rng, LEAST_CONTRAST), rng), rng, "photo"), rng, "photo")
    image += crop("grain", image.shape, rng) * np.float32(min(rng.exponential(2), 8))
    drawn: np.ndarray = np.clip(image, 0, 255).astype(np.uint8)
    return drawn


def emboss(text: str, rng: np.random.Generator, face: Face) -> np.ndarray:
    """The characters, all of one height and of about half as much width, side by side; (TALL, W) uint8."""
    gap, wide = int(rng.integers(4, 9)), TALL * rng.uniform(0.42, 0.58)
    parts: list[np.ndarray] = []
    for character in text:
        if character == DOT:
            parts.append(dot(int(rng.integers(5, 9))))
            continue
        ink = draw(character, face)
        slim = ink.shape[1] < 0.35 * ink.shape[0]  # 1, I: as thick as other strokes
        width = round(max(wide * (ink.shape[1] / ink.shape[0] if slim else 1), 4))
        sized = np.asarray(Image.fromarray(ink).resize((width, TALL), Image.Resampling.BILINEAR))
        room = round(wide) - width
        parts.append(np.pad(sized, ((0, 0), (gap // 2 + room // 2, gap - gap // 2 + room - room // 2))))
    joined = np.concatenate(parts, axis=1)
    return dilate(joined, 1)[1:-1] if rng.random() < 0.5 else joined


def dot(size: int) -> np.ndarray:
    part = np.zeros((TALL, size + 2), np.uint8)
    part[(TALL - size) // 2 : (TALL + size) // 2, 1:-1] = 255
    return part


def frame(mask: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """With some ground around and, mostly, a line along the plate's edge."""
    inner, line = int(rng.integers(3, 8)), int(rng.integers(1, 4))
    wide = np.pad(mask, inner)
    if rng.random() < 0.75:
        return np.pad(np.pad(wide, line, constant_values=255), int(rng.integers(0, 5)))
    return wide
