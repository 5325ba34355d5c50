"""Drawn words for engines that need to see images: a few to compare outputs, many to calibrate quantisation."""

from __future__ import annotations

import numpy as np

from models.data.image import Shape, resize
from models.rendering.fonts import package_faces
from models.rendering.lexicon import read_words
from models.rendering.styles import render

WORDS = [
    "available", "bound", "coffee", "42", "dancing", "early", "first", "garden",
    "house", "it", "jazz", "kitchen", "light", "1905", "mango", "night",
]  # fmt: skip

CALIBRATION_IMAGES = 128


def comparison_images(shape: Shape, count: int = len(WORDS)) -> np.ndarray:
    """uint8 (16 or fewer, channels, height, width), each word as wide as the shape is: always the same ones.

    In one face, which every installation has: to see which faces have which letters takes 3 s.
    """
    rng, faces = np.random.default_rng(1), package_faces("matplotlib", "mpl-data/fonts/ttf/DejaVuSans.ttf")
    return resize_all([render(word, rng, "plain", faces) for word in WORDS[:count]], shape)


def calibration_images(shape: Shape) -> np.ndarray:
    """uint8 (128, channels, height, width): words as photographs show them; always the same ones."""
    rng, words = np.random.default_rng(1), read_words()
    return resize_all([render(words[rng.integers(len(words))], rng, "hard") for _ in range(CALIBRATION_IMAGES)], shape)


def resize_all(drawn: list[np.ndarray], shape: Shape) -> np.ndarray:
    rows = [resize(one[:, :, None], shape.height, shape.width).reshape(shape.height, shape.width, 1) for one in drawn]
    return np.repeat(np.stack(rows), shape.channels, axis=3).transpose(0, 3, 1, 2).copy()
