"""The stages of Synth90k's own paper (Jaderberg et al. 2014, arXiv:1406.2227, section 2), in grey.

1 font, 2 border and shadow, 3 base colouring, 4 projection, 5 natural blending, 6 blur, noise and JPEG.
Numbers marked "measured" were fitted to 803 genuine images; benchmarks/render.py prints both sides.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image

from models.rendering.drawing import EM, draw
from models.rendering.fonts import Face
from models.rendering.texture import crop
from models.rendering.warping import View, bend, project

HEIGHT, RARE_HEIGHT = 31, 32  # pixels: 94 % and 6 % of Synth90k's images (measured)
QUANTILES = (0, 0.05, 0.25, 0.5, 0.75, 0.95, 1)
GROUND = (0, 12, 66, 116, 167, 230, 254)  # grey level of the ground at those quantiles (measured)
CONTRAST = (12, 26, 52, 86, 130, 205, 255)  # between text and ground (measured)
BLEND = (0, 0.3, 1, 3, 9, 30, 70)  # grey levels that the ground varies by


def hard(word: str, rng: np.random.Generator, faces: Sequence[Face]) -> np.ndarray:
    """A word as a photograph might show it: (31 or 32, W) uint8."""
    mask = letter(word, rng, faces)
    layers = stack(mask, rng)
    height = HEIGHT if rng.random() < 0.94 else RARE_HEIGHT
    seen = project(layers, look(rng), height)
    image = colour(seen, rng)
    image = soften(image, rng)
    image += crop("grain", image.shape, rng) * rng.exponential(0.65)
    drawn: np.ndarray = np.clip(image, 0, 255).astype(np.uint8)
    return drawn


def letter(word: str, rng: np.random.Generator, faces: Sequence[Face]) -> np.ndarray:
    """Stage 1: face, kerning, weight and curve of the baseline; (h, w) uint8."""
    face = faces[int(rng.integers(len(faces)))]
    loose = rng.random() < 0.35
    mask = draw(word, face, rng.uniform(0, 0.3) * EM if loose else rng.normal(0, 0.03) * EM)
    if rng.random() < 0.12:
        mask = dilate(mask, 1)
    if rng.random() < 0.3 and len(word) > 2:
        mask = bend(mask, rng.normal(0, 0.4) * EM)
    return mask


def dilate(mask: np.ndarray, radius: int) -> np.ndarray:
    """The mask grown by `radius` pixels on every side, and so that much larger."""
    rows, columns = mask.shape
    grown = np.zeros((rows + 2 * radius, columns + 2 * radius), np.uint8)
    grown[radius : radius + rows, radius : radius + columns] = mask
    for _ in range(radius):
        before = grown.copy()
        np.maximum(grown[1:], before[:-1], out=grown[1:])
        np.maximum(grown[:-1], before[1:], out=grown[:-1])
        np.maximum(grown[:, 1:], before[:, :-1], out=grown[:, 1:])
        np.maximum(grown[:, :-1], before[:, 1:], out=grown[:, :-1])
    return grown


def stack(mask: np.ndarray, rng: np.random.Generator) -> Image.Image:
    """Stage 2: text alone (mode L), or text, border and shadow as three bands to be projected together."""
    bordered, shadowed = rng.random(2) < (0.3, 0.25)
    if not (bordered or shadowed):
        return Image.fromarray(mask)
    radius = int(rng.integers(1, 4)) if bordered else 0
    dx, dy = rng.integers(-4, 5, 2) if shadowed else (0, 0)
    pad = radius + max(abs(dx), abs(dy))
    layers = np.zeros((mask.shape[0] + 2 * pad, mask.shape[1] + 2 * pad, 3), np.uint8)
    outline = dilate(mask, radius)
    paste(layers[..., 0], mask, pad, pad)
    paste(layers[..., 1], outline * bordered, pad - radius, pad - radius)
    paste(layers[..., 2], outline * shadowed, pad - radius + dy, pad - radius + dx)
    return Image.fromarray(layers)


def paste(band: np.ndarray, ink: np.ndarray, y: int, x: int) -> None:
    band[y : y + ink.shape[0], x : x + ink.shape[1]] = ink


def look(rng: np.random.Generator) -> View:
    """Stage 4: from where the text is seen."""
    stretch, near, slant, turn = rng.standard_normal(4) * (0.16, 0.12, 0.12, 0.06) + (-0.06, 0, 0, 0)
    left, top, right, bottom = rng.random(4) * (7, 6, 7, 6) - 1
    return View(np.exp(stretch), slant, np.exp(near), turn, (left, top, right, bottom))


def colour(seen: np.ndarray, rng: np.random.Generator, least: float = 0) -> np.ndarray:
    """Stages 3 and 5: grey levels for ground, shadow, border and text, blended with surfaces; float32.

    least: of the contrast between text and ground; with one the ground varies by less of it, too.
    """
    layers = np.atleast_3d(seen) * np.float32(1 / 255)
    ground, text = grey_levels(rng, least)
    contrast = abs(text - ground)
    image = backdrop(layers.shape[:2], min(pick(BLEND, rng), (0.3 if least else 0.6) * contrast), rng)
    image += np.float32(ground)
    if layers.shape[2] == 3:
        paint(image, layers[..., 2] * np.float32(rng.uniform(0.4, 1)), away(ground, rng.uniform(20, 120), rng))
        paint(image, layers[..., 1], away(text, rng.uniform(30, 160), rng))
    paint(image, layers[..., 0], text)
    if rng.random() < 0.3:  # light and dirt that lie over text and ground alike
        image += backdrop(image.shape, rng.uniform(0, 0.25) * contrast, rng)
    return image


def grey_levels(rng: np.random.Generator, least: float = 0) -> tuple[float, float]:
    """Grey levels of ground and text."""
    ground, contrast = pick(GROUND, rng), max(pick(CONTRAST, rng), least)
    text = away(ground, contrast, rng)
    # A contrast for which this ground leaves no room moves the ground: black on white is common.
    return ground + math.copysign(contrast - abs(text - ground), ground - text), text


def pick(table: Sequence[float], rng: np.random.Generator) -> float:
    """A value whose quantiles are those of the table."""
    return float(np.interp(rng.random(), QUANTILES, table))


def backdrop(shape: tuple[int, int], strength: float, rng: np.random.Generator) -> np.ndarray:
    surface: np.ndarray = crop("scene" if rng.random() < 0.6 else "surface", shape, rng) * np.float32(strength)
    return surface


def away(level: float, distance: float, rng: np.random.Generator) -> float:
    """A level `distance` from `level`, lighter or darker, or whichever of the two stays in 0 to 255."""
    step = distance if rng.random() < 0.5 else -distance
    if not 0 <= level + step <= 255:
        step = -step
    return min(max(level + step, 0.0), 255.0)


def paint(image: np.ndarray, alpha: np.ndarray, level: float) -> None:
    image += alpha * (np.float32(level) - image)


def soften(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Stage 6, the blur: three taps along both axes, as a lens a little out of focus."""
    side = np.float32(max(rng.uniform(-0.15, 0.25), 0))
    for turned in (image, image.T):
        middle = turned[1:-1] * (1 - 2 * side) + side * (turned[:-2] + turned[2:])
        turned[1:-1] = middle
    return image
