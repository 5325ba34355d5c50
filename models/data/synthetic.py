"""Random images with random words: input that costs nothing to find and teaches nothing, for measuring the rest."""

from __future__ import annotations

import numpy as np
import simplejpeg

from models.data.charset import Charset
from models.data.image import Shape
from models.data.source import Source

PICTURES = 1024
LENGTHS = (3, 9)  # characters, from and up to: what Synth90k's words mostly have


class Synthetic(Source):
    """A source (models/data/source.py) without files."""

    name, is_sample = "synthetic", False

    def __init__(self, shape: Shape, charset: Charset):
        self.height, self.width, self.charset = shape.height, shape.width, charset

    def __len__(self) -> int:
        return PICTURES

    def encoded(self, index: int) -> bytes:
        noise = np.random.default_rng(index).integers(0, 256, (self.height, self.width, 1), np.uint8)
        jpeg: bytes = simplejpeg.encode_jpeg(noise, 95, colorspace="GRAY")
        return jpeg

    def label(self, index: int) -> str:
        """No letter twice in a row: CTC needs a blank between them, and narrow images have no room for it."""
        draw = np.random.default_rng(index)
        alphabet = np.array(list(self.charset.characters))
        return "".join(draw.permutation(alphabet)[: draw.integers(*LENGTHS)])

    def where(self, index: int) -> str:
        return f"synthetic image {index}"

    def manifest(self) -> None:
        """There is no list to take the hash of."""
