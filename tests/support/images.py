"""Small images that tests make: smooth ones, noise, and files that must be refused."""

from __future__ import annotations

import io

import numpy as np
import simplejpeg
from PIL import Image


def grey(height: int = 31, width: int = 90, seed: int = 0) -> np.ndarray:
    """A smooth random image (h, w, 1), so that JPEG and resizing change it little."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 8), np.uint8)
    smooth = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(smooth)[:, :, None].copy()


def noise(height=40, width=120, channels=3, seed=0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (height, width, channels), np.uint8)


def jpeg(height: int = 31, width: int = 90, seed: int = 0) -> bytes:
    return simplejpeg.encode_jpeg(grey(height, width, seed), 95, colorspace="GRAY")


def encoded(image: Image.Image | np.ndarray, kind: str = "PNG", **options) -> bytes:
    """The file's bytes; an array is (h, w, 3) or (h, w) of uint8."""
    file = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(file, kind, **options)
    return file.getvalue()


def gif() -> bytes:
    file = io.BytesIO()
    frames = [Image.fromarray(noise(seed=seed)) for seed in (1, 2)]
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    return file.getvalue()


def wide_png() -> bytes:
    file = io.BytesIO()
    Image.new("1", (10_000, 10_000)).save(file, "PNG")
    return file.getvalue()
