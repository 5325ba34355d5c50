"""Any picture a person may have to a uint8 array: a path, bytes, an array or a Pillow image.

Unlike data sets, whose pictures are what they are, these come from phones and screens: turned by EXIF, transparent,
16 megapixels large.
"""

from __future__ import annotations

import io
import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from models.data.files import UnreadableError
from models.data.image import COLOURS, FORMATS, MAX_PIXELS, decode, refuse_bomb, to_array

Picture: TypeAlias = "str | os.PathLike | bytes | np.ndarray | Image.Image"
MOST_PIXELS = 32_000_000  # what a camera makes; more is refused before it is decoded
NEEDED = 640  # px, the lesser side: a JPEG is decoded to no more than twice that, which is plenty for a word
TURNED = 0x0112  # EXIF's orientation; 1 is upright
LOCK = threading.Lock()  # models.data.image decodes JPEGs into one buffer


def opened(picture: Picture, channels: int, most_pixels: int = MOST_PIXELS) -> np.ndarray:
    """uint8 (h, w, channels), upright, on white where it is transparent. Raises UnreadableError with the reason."""
    if isinstance(picture, np.ndarray):
        picture = of_array(picture)
    if isinstance(picture, Image.Image):
        return flat(refused_if_large(picture, most_pixels), channels)
    if not isinstance(picture, bytes | str | os.PathLike):
        raise UnreadableError(
            f"a {type(picture).__name__} is no picture: give a path, bytes, a uint8 array or a Pillow image"
        )
    if isinstance(picture, bytes):
        return decoded(picture, channels, most_pixels)
    try:
        return decoded(Path(picture).read_bytes(), channels, most_pixels)
    except OSError as error:
        raise UnreadableError(f"{picture}: {error.strerror}") from None
    except UnreadableError as error:
        raise UnreadableError(f"{picture}: {error}") from None


def of_array(array: np.ndarray) -> Image.Image:
    """uint8 (h, w), (h, w, 1), (h, w, 3) RGB or (h, w, 4) RGBA."""
    shape = array.shape[:2] if array.ndim == 3 and array.shape[2] == 1 else array.shape
    if array.dtype != np.uint8 or not (len(shape) == 2 or (len(shape) == 3 and shape[2] in (3, 4))) or 0 in shape:
        raise UnreadableError(
            f"an array of {array.dtype} {array.shape} is no picture: uint8 (h, w), or (h, w, 3) in RGB"
        )
    return Image.fromarray(np.ascontiguousarray(array).reshape(shape))


def decoded(content: bytes, channels: int, most_pixels: int) -> np.ndarray:
    """An encoded picture. A plain one is decoded exactly as those of a data set are."""
    if not content:
        raise UnreadableError("not a picture: the file is empty")
    refuse_bomb(content)
    with unreadable_as_one(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's own limit of pixels; there is another here
        picture = refused_if_large(Image.open(io.BytesIO(content), formats=FORMATS), most_pixels)
        if getattr(picture, "is_animated", False) and picture.format != "MPO":  # phones keep a second view in these
            raise UnreadableError(f"an animated {picture.format} of {picture.n_frames} frames: give one of them")
        if plain(picture):
            with LOCK:
                return decode(content, channels).copy()
        picture.draft(COLOURS[channels][1], (NEEDED, NEEDED))
        return flat(picture, channels)


def plain(picture: Image.Image) -> bool:
    upright = picture.getexif().get(TURNED, 1) == 1
    return upright and not picture.has_transparency_data and picture.width * picture.height <= MAX_PIXELS


def refused_if_large(picture: Image.Image, most_pixels: int) -> Image.Image:
    if picture.width * picture.height > most_pixels:
        raise UnreadableError(f"{picture.width} x {picture.height} px are too many: {most_pixels:,} at most")
    return picture


def flat(picture: Image.Image, channels: int) -> np.ndarray:
    """Upright, and on white paper."""
    picture = ImageOps.exif_transpose(picture)
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    return to_array(picture, COLOURS[channels][1])


@contextmanager
def unreadable_as_one() -> Iterator[None]:
    """What Pillow raises for broken files, a dozen kinds of errors, as UnreadableError."""
    try:
        yield
    except UnreadableError:
        raise
    except UnidentifiedImageError:
        raise UnreadableError(f"not a picture that can be read: {', '.join(FORMATS)} can") from None
    except Exception as error:
        raise UnreadableError(f"not a whole picture ({' '.join(str(error).split())[:160]})") from error
