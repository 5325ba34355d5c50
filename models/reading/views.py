"""Other views of an image: what is doubtful is read again narrower, wider or turned, and the surest one counts.

A network that was trained on words stretched to 100 px sees one to three letters three times as wide as they are, and a
long word squeezed; a word that runs up or down a sign is tall. Measured in docs/recognisers.md.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from models.data.image import NARROWEST, ImageSource, Shape, load_image, resize

SURE = 0.95  # an image whose every character is at least as probable is not read again
SHARES = (0.68, 0.52)  # of the shape's width, at which a word is read again
WIDE, WIDER = 1.5, 1.32  # images of at least that width over their height are read again at this share, too
TALL = 0.8  # width over height of an image that is read turned, too


class ImageView(NamedTuple):
    """uint8 (H, W, C), and by how many degrees it was turned counter-clockwise."""

    image: np.ndarray
    turned: int = 0


def views_of(source: ImageSource, shape: Shape, widths: bool, most_pixels: int) -> list[ImageView]:
    """The image as the network was trained to read it, and the views of it that are read when that is doubtful.

    widths: whether the network reads images narrower and wider than the shape. Raises UnreadableError.
    """
    loaded = load_image(source, shape.channels, most_pixels)
    return [first_view(loaded, shape), *other_views(loaded, shape, widths)]


def first_view(image: np.ndarray, shape: Shape) -> ImageView:
    """The image (h, w, C) as the network was trained to read it."""
    return ImageView(to_width(image, shape, shape.fit_width(*image.shape[:2])))


def other_views(image: np.ndarray, shape: Shape, widths: bool) -> list[ImageView]:
    """Those to read besides. widths: whether the network reads images that are narrower and wider than the shape."""
    aspect = image.shape[1] / image.shape[0]
    views = []
    if widths and not shape.keep_ratio:
        shares = (*SHARES, WIDER) if aspect > WIDE else SHARES
        views = [ImageView(to_width(image, shape, max(round(share * shape.width), NARROWEST))) for share in shares]
    if aspect < TALL:
        for quarters in (1, 3):
            turned = np.ascontiguousarray(np.rot90(image, quarters))
            views.append(first_view(turned, shape)._replace(turned=90 * quarters))
    return views


def to_width(image: np.ndarray, shape: Shape, width: int) -> np.ndarray:
    return resize(image, shape.height, width).reshape(shape.height, width, -1)
