"""Drawn words, for engines that have to see what a picture looks like: a few to be compared, many to be quantised."""

from __future__ import annotations

import numpy as np

from models.data.image import Shape, resize
from models.rendering.lexicon import read_words
from models.rendering.styles import render

WORDS = [
    "available", "bound", "coffee", "42", "dancing", "early", "first", "garden",
    "house", "it", "jazz", "kitchen", "light", "1905", "mango", "night",
]  # fmt: skip

VARIED = 128


def typical(shape: Shape) -> np.ndarray:
    """uint8 (16, channels, height, width), each word as wide as the shape is: always the same ones."""
    rng = np.random.default_rng(1)
    return fitted([render(word, rng, "plain") for word in WORDS], shape)


def varied(shape: Shape) -> np.ndarray:
    """uint8 (128, channels, height, width): words as photographs show them; always the same ones."""
    rng, words = np.random.default_rng(1), read_words()
    return fitted([render(words[rng.integers(len(words))], rng, "hard") for _ in range(VARIED)], shape)


def fitted(drawn: list[np.ndarray], shape: Shape) -> np.ndarray:
    rows = [resize(one[:, :, None], shape.height, shape.width).reshape(shape.height, shape.width, 1) for one in drawn]
    return np.repeat(np.stack(rows), shape.channels, axis=3).transpose(0, 3, 1, 2).copy()
