"""Bending and projecting the mask of a word: the baseline's curve, then one perspective transform."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from PIL import Image

WIDEST = 1000  # pixels of an image; a longer word is squeezed into it


class View(NamedTuple):
    """How the plane of the text is seen. Angles in radians; margins in pixels of the image."""

    stretch: float  # width over height, relative to the font's own
    slant: float  # x moved per y: italics, or a camera from the side
    near: float  # height of the right end over that of the left end
    turn: float
    margins: tuple[float, float, float, float]  # left, top, right, bottom; a negative one cuts ink


def bend(mask: np.ndarray, height: float) -> np.ndarray:
    """The mask with its columns moved along a parabola of `height` pixels, ends down for a positive one."""
    return shift_columns(mask, height * np.linspace(-1, 1, mask.shape[1]) ** 2)


def wave(mask: np.ndarray, height: float, rng: np.random.Generator) -> np.ndarray:
    """The mask with its columns moved along a sine of that amplitude in pixels: half a period to one and a half."""
    phase, periods = rng.uniform(0, 2 * np.pi), rng.uniform(0.5, 1.5)
    return shift_columns(mask, height * np.sin(phase + np.linspace(0, 2 * np.pi * periods, mask.shape[1])))


def shift_columns(mask: np.ndarray, down: np.ndarray) -> np.ndarray:
    """The mask (h, w) with each column moved down by as many pixels, and so that much higher."""
    rows, columns = mask.shape
    shift = np.round(down).astype(np.intp)
    shift -= shift.min()
    bent = np.zeros((rows + shift.max(), columns), mask.dtype)
    np.put_along_axis(bent, np.arange(rows)[:, None] + shift, mask, axis=0)
    return bent


def corners(size: tuple[int, int], view: View) -> np.ndarray:
    """Where the mask's corners go before scaling, (4, 2) x y, clockwise from the upper left."""
    width, height = size
    half = np.array([width * view.stretch, height]) / 2
    points = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * half
    points[:, 1] *= np.where(points[:, 0] > 0, view.near, 1 / view.near) ** 0.5
    points[:, 0] -= view.slant * points[:, 1]
    cos, sin = np.cos(view.turn), np.sin(view.turn)
    turned: np.ndarray = points @ np.array([[cos, sin], [-sin, cos]])
    return turned


def project(layers: Image.Image, view: View, height: int) -> np.ndarray:
    """The mask, or three stacked ones, seen by `view`: (height, W) or (height, W, 3) uint8."""
    left, top, right, bottom = view.margins
    points = corners(layers.size, view)
    points -= points.min(axis=0)
    extent = points.max(axis=0)
    scale = (height - top - bottom) / extent[1]
    squeeze = min(1.0, (WIDEST - left - right) / (extent[0] * scale))
    points *= [scale * squeeze, scale]
    points += [left, top]
    width = max(round(extent[0] * scale * squeeze + left + right), 1)
    coefficients = homography(points, layers.size)
    seen = layers.transform((width, height), Image.Transform.PERSPECTIVE, coefficients, Image.Resampling.BILINEAR)
    return np.asarray(seen)


def homography(points: np.ndarray, size: tuple[int, int]) -> list[float]:
    """The eight coefficients by which Pillow finds, for a pixel of the image, its place on the mask."""
    width, height = size
    source = np.array([[0, 0], [width, 0], [width, height], [0, height]], float)
    system = np.zeros((8, 8))
    system[0::2, 0:2], system[0::2, 2] = points, 1
    system[1::2, 3:5], system[1::2, 5] = points, 1
    system[0::2, 6:] = -points * source[:, :1]
    system[1::2, 6:] = -points * source[:, 1:]
    coefficients: list[float] = np.linalg.solve(system, source.ravel()).tolist()
    return coefficients
