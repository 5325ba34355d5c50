"""Images to uint8 arrays: bounded, decoded, put on white paper where they are transparent, resized.

Here everything that reads images opens them: data sets by `decode`, the Python API, the demo and the service by
`load_image`, which differs for photographs that are larger than an image of a data set may be.
"""

from __future__ import annotations

import io
import math
import os
import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import TypeAlias

import cv2
import numpy as np
import simplejpeg
from PIL import Image, ImageOps, UnidentifiedImageError

from models.data.files import LARGEST, DataError, UnreadableError

MAX_PIXELS = 1 << 22  # decoded per image of a data set at most; a word image has some 4,000, a page at 200 dpi 3.7 M
PHOTO_PIXELS = 32_000_000  # what a camera makes; more is refused before it is decoded
NEEDED = 640  # px, the lesser side: a large JPEG is decoded to no more than twice that, which is plenty for a word
ORIENTATION, UPRIGHT, LYING = 0x0112, 1, (5, 6, 7, 8)  # of EXIF; those that lie are turned by a quarter
EXIF_WITHIN = 4096  # bytes of a JPEG
JFIF = 22  # bytes with which most begin: JFIF's own header, and the marker after it
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM")  # Pillow has many more; for EPS it starts Ghostscript
PHONES = {b"ftyphei": "HEIC", b"ftypmif1": "HEIC", b"ftypavif": "AVIF"}  # by a file's bytes from the fifth on
MOST_TILES = 1 << 16  # of a TIFF: one for each row of the tallest image that word images can need
MOST_SCANS = 100  # of a JPEG; a progressive one has about 10. Each costs a pass over all pixels, and takes 12 bytes
MOST_SEGMENTS = 1000  # of a JPEG, that are no picture: each of Exif is joined to those before it
MOST_CHUNKS = 20_000  # of a PNG; 16 MiB in the usual 8 kB are 2,048
PYTHON_CODECS = ("bmp_rle", "ppm", "ppm_plain")  # Pillow decodes these pixel by pixel in Python: 10 s for 32 megapixels
PYTHON_PIXELS = 1 << 19
SMALL = 1 << 14  # bytes in which an image cannot hide enough scans, segments or chunks to matter
NARROWEST = 16  # px: five columns of the CRNN, enough for two characters and their blanks
PADDING = 128  # the grey that normalises to nearly 0
# Source px per result px: beyond the first an image is smoothed before it is sampled, beyond the second by Pillow.
SHRINKS, SHRINKS_MUCH = 1.25, 4.0
PNG = b"\x89PNG\r\n\x1a\n"
SEGMENT = re.compile(b"\xff[\xe0-\xef\xfe]")  # of a JPEG: data of applications and comments
COLOURS = {1: ("GRAY", "L"), 3: ("RGB", "RGB")}  # channels: (simplejpeg's name, Pillow's name)

ImageSource: TypeAlias = "str | os.PathLike[str] | bytes | np.ndarray | Image.Image"

_decoded = np.empty(MAX_PIXELS * 3, np.uint8)  # untouched pages cost nothing; a JPEG that does not fit is refused
_lock = threading.Lock()  # on it: threads of a service share it


@dataclass(frozen=True)
class Shape:
    """How an image becomes an array: (channels, height, width), uint8.

    keep_ratio: the width follows the image's own, at most `width`, padded on the right to the batch's widest.
    """

    height: int = 32
    width: int = 100
    channels: int = 1
    keep_ratio: bool = False

    def __post_init__(self) -> None:
        sizes = self.height, self.width, self.channels
        possible = all(isinstance(size, int) for size in sizes) and self.height >= 1 and self.width >= NARROWEST
        if not possible or self.channels not in COLOURS or self.height * self.width > MAX_PIXELS:
            raise DataError(
                f"images of {self.height} x {self.width} px with {self.channels} channels cannot be used: "
                f"channels are 1 or 3, height at least 1, width at least {NARROWEST}, pixels at most {MAX_PIXELS:,}"
            )

    def fit_width(self, height: int, width: int) -> int:
        """Width in px that an image of this size gets before padding."""
        if not self.keep_ratio:
            return self.width
        return min(self.width, max(NARROWEST, round(width * self.height / height)))


def load_image(source: ImageSource, channels: int, most_pixels: int = PHOTO_PIXELS) -> np.ndarray:
    """An image that a person gives, as uint8 (h, w, channels), upright. Raises UnreadableError with the reason."""
    if isinstance(source, np.ndarray):
        source = image_from_array(source)
    if isinstance(source, Image.Image):
        return to_array(ImageOps.exif_transpose(refuse_large(source, most_pixels)), channels)
    if isinstance(source, bytes):
        return decode_photo(source, channels, most_pixels)
    if not isinstance(source, str | os.PathLike):
        raise UnreadableError(
            f"a {type(source).__name__} is no image: give a path, bytes, a uint8 array or a Pillow image"
        )
    try:
        return decode_photo(Path(source).read_bytes(), channels, most_pixels)
    except OSError as error:
        raise UnreadableError(f"{source}: {error.strerror}") from None
    except UnreadableError as error:
        raise UnreadableError(f"{source}: {error}") from None


def decode_photo(encoded: bytes, channels: int, most_pixels: int) -> np.ndarray:
    """As `decode`, to the bit, and what is larger than a data set may have shrunk, as phones and screens make it."""
    if not encoded:
        raise UnreadableError("not an image: the file is empty")
    refuse_bomb(encoded)
    with open_image(encoded, most_pixels) as image:
        if image.width * image.height > MAX_PIXELS:
            refuse_film(image)
            image.draft(COLOURS[channels][1], (NEEDED, NEEDED))
            return to_array(ImageOps.exif_transpose(image), channels)
    with _lock:
        pixels: np.ndarray = decode(encoded, channels).copy()
        return pixels


def decode(encoded: bytes | memoryview, channels: int = 1) -> np.ndarray:
    """Encoded image to uint8 (h, w, channels), upright as its EXIF says, on white where it is transparent.

    The result may be overwritten by the next call. JPEGs go through libjpeg-turbo, which decodes to grey without ever
    making colours; all else through Pillow. Raises UnreadableError, for a film too.
    """
    if len(encoded) > SMALL:
        refuse_bomb(encoded)
    if has_exif(encoded) and orientation(encoded) != UPRIGHT:
        with open_image(encoded) as image:
            return to_array(ImageOps.exif_transpose(image), channels)
    try:
        pixels: np.ndarray = simplejpeg.decode_jpeg(encoded, COLOURS[channels][0], buffer=_decoded)
        return pixels
    except ValueError:  # not a JPEG, a broken one, CMYK or too large: Pillow knows which
        with open_image(encoded) as image:
            refuse_film(image)
            return to_array(ImageOps.exif_transpose(image), channels)


def has_exif(encoded: bytes | memoryview) -> bool:
    """Whether a file may say how it is turned: at most 1 us, where asking Pillow takes 60."""
    begin = bytes(encoded[:JFIF])
    if begin[:4] == b"\xff\xd8\xff\xe0" and begin[-2:] == b"\xff\xdb":  # tables follow at once: EXIF is before them
        return False
    begin = bytes(encoded[:EXIF_WITHIN])
    return b"Exif\0" in begin or not begin.startswith(b"\xff\xd8")


def orientation(encoded: bytes | memoryview) -> int:
    """How an image is turned, EXIF's number; UPRIGHT also where nothing can be read."""
    try:
        with open_image(encoded) as image:
            return int(image.getexif().get(ORIENTATION, UPRIGHT))
    except UnreadableError:
        return UPRIGHT


def refuse_film(image: Image.Image) -> None:
    """Without a word of how many frames there are: Pillow would walk through a million of them to count."""
    if getattr(image, "is_animated", False) and image.format != "MPO":  # phones keep a second view in these
        raise UnreadableError(f"a {image.format} of several frames or pages: give one of them")


def image_from_array(array: np.ndarray) -> Image.Image:
    """uint8 (h, w), (h, w, 1), (h, w, 3) RGB or (h, w, 4) RGBA. Raises UnreadableError for others."""
    shape = array.shape[:2] if array.ndim == 3 and array.shape[2] == 1 else array.shape
    if array.dtype != np.uint8 or not (len(shape) == 2 or (len(shape) == 3 and shape[2] in (3, 4))) or 0 in shape:
        raise UnreadableError(f"an array of {array.dtype} {array.shape} is no image: uint8 (h, w), or (h, w, 3) in RGB")
    return Image.fromarray(np.ascontiguousarray(array).reshape(shape))


def refuse_bomb(encoded: bytes | memoryview) -> None:
    """What a few bytes make decoders do: 20,000 scans in 345 kB kept libjpeg busy for 100 s, 400,000 segments of Exif
    or a million chunks Pillow for longer.
    """
    if len(encoded) > LARGEST:
        raise UnreadableError(f"{len(encoded):,} bytes is more than {LARGEST:,}")
    if encoded[:2] == b"\xff\xd8":
        content = bytes(encoded)
        if (scans := content.count(b"\xff\xda")) > MOST_SCANS:
            raise UnreadableError(f"a JPEG of {scans:,} scans, more than {MOST_SCANS}")
        if next(islice(SEGMENT.finditer(content), MOST_SEGMENTS, None), None):
            raise UnreadableError(f"a JPEG of more than {MOST_SEGMENTS:,} segments")
    elif encoded[:8] == PNG and has_many_chunks(encoded):
        raise UnreadableError(f"a PNG of more than {MOST_CHUNKS:,} chunks")


def has_many_chunks(png: bytes | memoryview) -> bool:
    at = len(PNG)
    for _ in range(MOST_CHUNKS):
        if at + 8 > len(png):
            return False
        at += int.from_bytes(png[at : at + 4], "big") + 12
    return True


def refuse_large(image: Image.Image, most_pixels: int) -> Image.Image:
    if image.width * image.height > most_pixels:
        raise UnreadableError(f"{image.width} x {image.height} px are too many: {most_pixels:,} at most")
    return image


@contextmanager
def open_image(encoded: bytes | memoryview, most_pixels: int = MAX_PIXELS) -> Iterator[Image.Image]:
    """Pillow's image, whose pixels are not decoded yet. Raises UnreadableError for all that the block raises, too."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's own limit of pixels is another
            image = refuse_large(Image.open(io.BytesIO(encoded), formats=FORMATS), most_pixels)
            if len(tiles := getattr(image, "tile", ())) > MOST_TILES:
                raise UnreadableError(f"stored in {len(tiles):,} tiles, more than {MOST_TILES:,}")
            if tiles and tiles[0][0] in PYTHON_CODECS:
                refuse_large(image, PYTHON_PIXELS)
            yield image
    except UnreadableError:
        raise
    except UnidentifiedImageError:
        phone = next((name for brand, name in PHONES.items() if bytes(encoded[4:12]).startswith(brand)), "")
        if phone:
            raise UnreadableError(f"{phone}, which is not read: save it as JPEG") from None
        raise UnreadableError(f"not an image that can be read: {', '.join(FORMATS)} can") from None
    except Exception as error:  # Pillow's decoders raise a dozen kinds of errors on broken bytes
        raise UnreadableError(f"not a whole image ({' '.join(str(error).split())[:160]})") from error


def image_size(encoded: bytes | memoryview) -> tuple[int, int]:
    """Height and width in px, from the header alone. Raises UnreadableError."""
    try:
        height, width, *_ = simplejpeg.decode_jpeg_header(encoded)
    except ValueError:
        with open_image(encoded) as image:
            height, width = image.height, image.width
    return (width, height) if has_exif(encoded) and orientation(encoded) in LYING else (height, width)


def to_array(image: Image.Image, channels: int) -> np.ndarray:
    """Pillow's image as uint8 (h, w, channels), on white paper where it is transparent.

    16-bit greys are scaled, where Pillow alone would clip them. Raises UnreadableError for floating point.
    """
    if image.mode == "F":
        raise UnreadableError("floating-point pixels, whose white nobody knows: save it with 8 or 16 bits")
    if image.mode.startswith("I"):
        image = Image.fromarray((np.asarray(image).astype(np.uint32) >> 8).clip(0, 255).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    array = np.asarray(image.convert(COLOURS[channels][1]))
    return array.reshape(*array.shape[:2], -1)


def resize(image: np.ndarray, height: int, width: int, into: np.ndarray | None = None) -> np.ndarray:
    """Bilinear resize of uint8 (h, w, c) to (height, width, c) that does not alias where it shrinks.

    Within 0.5 grey levels of Pillow's BILINEAR on average over MJSynth, at a third of its cost (docs/data.md).
    `into` is written in place; it must be contiguous.
    """
    h, w, _ = image.shape
    if h > SHRINKS * height or w > SHRINKS * width:
        if h > SHRINKS_MUCH * height or w > SHRINKS_MUCH * width:
            return resize_with_pillow(image, height, width, into)
        image = cv2.GaussianBlur(image, *smoothing(h / height, w / width))
    return cv2.resize(image, (width, height), into, interpolation=cv2.INTER_LINEAR)


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


def resize_with_pillow(image: np.ndarray, height: int, width: int, into: np.ndarray | None) -> np.ndarray:
    source = Image.fromarray(image if image.shape[2] > 1 else image[:, :, 0])
    resized = np.asarray(source.resize((width, height), Image.Resampling.BILINEAR)).reshape(height, width, -1)
    if into is not None:
        into[:] = resized
    return resized
