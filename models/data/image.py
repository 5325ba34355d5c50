"""From encoded bytes to rows of a uint8 batch: decode straight to grey, resize, pad."""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import simplejpeg
from PIL import Image

from models.data.files import LARGEST, DataError, UnreadableError

MAX_PIXELS = 1 << 22  # decoded per image at most; a word image has some 4,000, a page at 200 dpi 3.7 M
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM")  # Pillow has many more; for EPS it starts Ghostscript
MOST_TILES = 1 << 16  # of a TIFF: one for each row of the tallest image that word images can need
MOST_SCANS = 100  # of a JPEG; a progressive one has about 10. Each costs a pass over all pixels, and takes 12 bytes
SMALL = 1 << 14  # bytes in which a JPEG cannot hide enough scans to matter
NARROWEST = 16  # px: five columns of the CRNN, enough for two characters and their blanks
PADDING = 128  # the grey that normalises to nearly 0
# Source px per result px: beyond the first an image is smoothed before it is sampled, beyond the second by Pillow.
SHRINKS, SHRINKS_MUCH = 1.25, 4.0
COLOURS = {1: ("GRAY", "L"), 3: ("RGB", "RGB")}  # channels: (simplejpeg's name, Pillow's name)

_decoded = np.empty(MAX_PIXELS * 3, np.uint8)  # untouched pages cost nothing; a JPEG that does not fit is refused


@dataclass(frozen=True)
class Shape:
    """How an image becomes an array: (channels, height, width), uint8.

    keep_ratio: the width follows the image's own, at most `width`, padded on the right to the batch's widest.
    """

    height: int = 32
    width: int = 100
    channels: int = 1
    keep_ratio: bool = False

    def __post_init__(self):
        sizes = self.height, self.width, self.channels
        possible = all(isinstance(size, int) for size in sizes) and self.height >= 1 and self.width >= NARROWEST
        if not possible or self.channels not in COLOURS or self.height * self.width > MAX_PIXELS:
            raise DataError(
                f"images of {self.height} x {self.width} px with {self.channels} channels cannot be used: "
                f"channels are 1 or 3, height at least 1, width at least {NARROWEST}, pixels at most {MAX_PIXELS:,}"
            )

    def fitted(self, height: int, width: int) -> int:
        """Width in px that an image of this size gets before padding."""
        if not self.keep_ratio:
            return self.width
        return min(self.width, max(NARROWEST, round(width * self.height / height)))


def decode(encoded: bytes | memoryview, channels: int = 1) -> np.ndarray:
    """Encoded image to uint8 (h, w, channels). The result may be overwritten by the next call.

    JPEGs go through libjpeg-turbo, which decodes to grey without ever making colours; all else through Pillow.
    Raises UnreadableError.
    """
    if len(encoded) > SMALL:
        refuse_bomb(encoded)
    try:
        return simplejpeg.decode_jpeg(encoded, COLOURS[channels][0], buffer=_decoded)
    except ValueError:  # not a JPEG, a broken one, CMYK or too large: Pillow knows which
        return decode_with_pillow(encoded, channels)


def refuse_bomb(encoded: bytes | memoryview) -> None:
    """What a few bytes make libjpeg do: 20,000 scans in 345 kB kept it busy for 100 s."""
    if len(encoded) > LARGEST:
        raise UnreadableError(f"{len(encoded):,} bytes is more than {LARGEST:,}")
    if encoded[:2] == b"\xff\xd8" and (scans := bytes(encoded).count(b"\xff\xda")) > MOST_SCANS:
        raise UnreadableError(f"a JPEG of {scans:,} scans, more than {MOST_SCANS}")


def decode_with_pillow(encoded: bytes | memoryview, channels: int) -> np.ndarray:
    with opened(encoded) as picture:
        return to_array(picture, COLOURS[channels][1])


@contextmanager
def opened(encoded: bytes | memoryview) -> Iterator[Image.Image]:
    """Pillow's image, whose pixels are not decoded yet. Raises UnreadableError for all that the block raises, too."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            picture = Image.open(io.BytesIO(encoded), formats=FORMATS)
            if picture.width * picture.height > MAX_PIXELS:
                raise UnreadableError(f"{picture.width}x{picture.height} px: more than {MAX_PIXELS:,} pixels")
            if len(picture.tile) > MOST_TILES:
                raise UnreadableError(f"stored in {len(picture.tile):,} tiles, more than {MOST_TILES:,}")
            yield picture
    except UnreadableError:
        raise
    except Exception as error:  # Pillow's decoders raise a dozen kinds of errors on broken bytes
        raise UnreadableError(f"{type(error).__name__}: {' '.join(str(error).split())[:200]}") from error


def image_size(encoded: bytes | memoryview) -> tuple[int, int]:
    """Height and width in px, from the header alone. Raises UnreadableError."""
    try:
        return simplejpeg.decode_jpeg_header(encoded)[:2]
    except ValueError:
        with opened(encoded) as picture:
            return picture.height, picture.width


def to_array(picture: Image.Image, mode: str) -> np.ndarray:
    """Pillow's image as uint8 (h, w, channels); 16-bit greys are scaled, where Pillow alone would clip them."""
    if picture.mode.startswith("I"):
        picture = Image.fromarray((np.asarray(picture).astype(np.uint32) >> 8).clip(0, 255).astype(np.uint8))
    array = np.asarray(picture.convert(mode))
    return array.reshape(*array.shape[:2], -1)


def resize(picture: np.ndarray, height: int, width: int, into: np.ndarray | None = None) -> np.ndarray:
    """Bilinear resize of uint8 (h, w, c) to (height, width, c) that does not alias where it shrinks.

    Within 0.5 grey levels of Pillow's BILINEAR on average over MJSynth, at a third of its cost (docs/data.md).
    `into` is written in place; it must be contiguous.
    """
    h, w, _ = picture.shape
    if h > SHRINKS * height or w > SHRINKS * width:
        if h > SHRINKS_MUCH * height or w > SHRINKS_MUCH * width:
            return resize_with_pillow(picture, height, width, into)
        picture = cv2.GaussianBlur(picture, *smoothing(h / height, w / width))
    return cv2.resize(picture, (width, height), into, interpolation=cv2.INTER_LINEAR)


@lru_cache(1 << 16)
def smoothing(vertical: float, horizontal: float) -> tuple[tuple[int, int], float, None, float]:
    """GaussianBlur's arguments that make shrinking by these factors like an antialiased resize with its wider triangle.

    Pillow's triangle has the variance s^2/6 px^2, a plain bilinear one 1/6: a blur makes up the difference. A few taps
    cannot hold all of it; a sigma of sqrt(s^2 - 1)/2 came closest to Pillow on MJSynth.
    """
    (taps_x, sigma_x), (taps_y, sigma_y) = (
        (3 if s < 2 else 5, math.sqrt(s * s - 1) / 2) if s > SHRINKS else (1, 1e-3) for s in (horizontal, vertical)
    )
    return (taps_x, taps_y), sigma_x, None, sigma_y


def resize_with_pillow(picture: np.ndarray, height: int, width: int, into: np.ndarray | None) -> np.ndarray:
    source = Image.fromarray(picture if picture.shape[2] > 1 else picture[:, :, 0])
    resized = np.asarray(source.resize((width, height), Image.Resampling.BILINEAR)).reshape(height, width, -1)
    if into is not None:
        into[:] = resized
    return resized
