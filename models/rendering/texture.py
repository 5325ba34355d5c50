"""Surfaces to put behind, into and over text. Made once a process from fixed seeds: no photograph is needed.

Jaderberg et al. blend each layer with a crop of a natural image. Amplitudes of natural images fall with
frequency, and they have edges where things end: `scene` has both, `surface` only the first, `grain` neither.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

SHAPE = (512, 2048)  # pixels; a crop is at most 32 by 1000, times its step
STEPS = 3  # a crop takes every first, second or third pixel: the same place at three zooms


@lru_cache(maxsize=1)
def surfaces() -> dict[str, np.ndarray]:
    """Each (512, 2048) float32 with mean 0 and standard deviation 1, cut at two of them."""
    rng = np.random.Generator(np.random.Philox(key=[0, 0x7E87]))
    surface = unit(clouds(rng, falling=1.6))
    made = {
        "grain": rng.standard_normal(SHAPE, np.float32),
        "surface": surface,
        "scene": unit(shapes(rng) + 0.5 * surface),
    }
    return {name: np.clip(values, -2, 2).astype(np.float32) for name, values in made.items()}


def crop(name: str, shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """A random window of a surface, `shape` pixels at a random zoom; a view, so do not write to it."""
    height, width = shape
    step = 1 if name == "grain" else min(int(rng.integers(1, STEPS + 1)), SHAPE[1] // width)
    y = rng.integers(SHAPE[0] - height * step + 1)
    x = rng.integers(SHAPE[1] - width * step + 1)
    return surfaces()[name][y : y + height * step : step, x : x + width * step : step]


def unit(values: np.ndarray) -> np.ndarray:
    scaled: np.ndarray = (values - values.mean()) / values.std()
    return scaled


def clouds(rng: np.random.Generator, falling: float) -> np.ndarray:
    """Noise whose amplitude falls as frequency to the power -`falling`."""
    frequency = np.hypot(np.fft.fftfreq(SHAPE[0])[:, None], np.fft.rfftfreq(SHAPE[1])[None, :])
    frequency[0, 0] = np.inf
    waves = rng.standard_normal((2, *frequency.shape))
    return np.fft.irfft2((waves[0] + 1j * waves[1]) * frequency**-falling, SHAPE)


def shapes(rng: np.random.Generator, count: int = 900) -> np.ndarray:
    """Overlapping flat shapes of all sizes, smaller ones in front: edges, corners, bars and blobs."""
    height, width = SHAPE
    image = Image.new("L", (width, height), 128)
    canvas = ImageDraw.Draw(image)
    for size in np.sort(rng.pareto(1.2, count) * 8 + 4)[::-1]:
        size = min(size, 200)
        x, y, level = rng.integers(width), rng.integers(height), int(rng.integers(256))
        corners = (np.array([x, y]) + rng.uniform(-size, size, (int(rng.integers(3, 6)), 2))).ravel().tolist()
        kind = rng.integers(4)
        if kind == 0:
            canvas.ellipse([x - size, y - size / 2, x + size, y + size / 2], fill=level)
        elif kind == 1:
            canvas.line(corners[:4], fill=level, width=int(rng.integers(1, 6)))
        else:
            canvas.polygon(corners, fill=level)
    soft = image.filter(ImageFilter.GaussianBlur(1.2))
    return unit(np.asarray(soft, np.float64))
