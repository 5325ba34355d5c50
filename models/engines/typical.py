"""A few drawn words, for engines that have to see what a picture looks like: to be compared, or to be quantised."""

from __future__ import annotations

import numpy as np

from models.data.image import Shape, resize
from models.data.rendering.styles import render

WORDS = [
    "available", "bound", "coffee", "42", "dancing", "early", "first", "garden",
    "house", "it", "jazz", "kitchen", "light", "1905", "mango", "night",
]  # fmt: skip


def typical(shape: Shape) -> np.ndarray:
    """uint8 (16, channels, height, width), each word as wide as the shape is: always the same ones."""
    rng = np.random.default_rng(1)
    drawn = [render(word, rng, "plain")[:, :, None] for word in WORDS]
    rows = [resize(one, shape.height, shape.width).reshape(shape.height, shape.width, 1) for one in drawn]
    return np.repeat(np.stack(rows), shape.channels, axis=3).transpose(0, 3, 1, 2).copy()
