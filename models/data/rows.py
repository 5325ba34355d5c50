"""From samples of a source to the rows of a batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from models.data.image import PADDING, Shape, decode, picture_size, resize
from models.data.packed import Packed
from models.data.source import DataError, Source


@dataclass
class Rows:
    """Pictures that could be read and their texts, and why the others could not."""

    images: np.ndarray  # (n, C, H, W) uint8
    widths: np.ndarray  # (n,) int32, px before padding
    texts: list[str]
    numbers: list[int]  # in the source, of those that are here
    skipped: dict[int, str] = field(default_factory=dict)  # number in the source: reason

    def drop(self, reasons: dict[int, str]) -> None:
        """Take rows out, by place, for reasons."""
        self.skipped |= {self.numbers[place]: reason for place, reason in reasons.items()}
        stay = [place for place in range(len(self.texts)) if place not in reasons]
        self.images, self.widths = self.images[stay], self.widths[stay]
        self.texts, self.numbers = [self.texts[i] for i in stay], [self.numbers[i] for i in stay]


def read_encoded(source: Source, numbers: np.ndarray, shape: Shape) -> Rows:
    """Decode samples straight into a batch."""
    images = np.empty((len(numbers), shape.height, shape.width, shape.channels), np.uint8)
    widths = np.full(len(numbers), shape.width, np.int32)
    place = fit if shape.keep_ratio else stretch
    texts, read, skipped = [], [], {}
    for number in numbers.tolist():
        try:
            text = source.label(number)
            picture = decode(source.encoded(number), shape.channels)
        except DataError as error:
            skipped[number] = located(str(error), source.where(number))
            continue
        place(picture, images, widths, len(read), shape)
        texts.append(text)
        read.append(number)
    widths = widths[: len(read)]
    return Rows(channels_first(images[: len(read), :, : padded_width(widths, shape)]), widths, texts, read, skipped)


def stretch(picture: np.ndarray, images: np.ndarray, _: np.ndarray, row: int, shape: Shape) -> None:
    """Resize a picture to the whole of its row of a batch."""
    resize(picture, shape.height, shape.width, images[row])


def fit(picture: np.ndarray, images: np.ndarray, widths: np.ndarray, row: int, shape: Shape) -> None:
    """Resize a picture to its row's height, note its width, and pad it on the right."""
    widths[row] = width = shape.fitted(*picture.shape[:2])
    images[row, :, :width] = resize(picture, shape.height, width).reshape(shape.height, width, shape.channels)
    images[row, :, width:] = PADDING


def pad_batch(images: Sequence[np.ndarray], width: int | None = None) -> np.ndarray:
    """uint8 images (H, w, C) of one height to (N, C, H, width), padded on the right with grey; None: to the widest."""
    height, _, channels = images[0].shape
    width = width or max(image.shape[1] for image in images)
    batch = np.full((len(images), height, width, channels), PADDING, np.uint8)
    for row, image in zip(batch, images, strict=True):
        row[:, : image.shape[1]] = image
    return channels_first(batch)


def read_rows(source: Packed, numbers: np.ndarray, shape: Shape) -> Rows:
    """Gather rows that are decoded already."""
    widths, texts = source.words(numbers)
    images = source.images[numbers]
    if shape.keep_ratio:
        images = np.ascontiguousarray(images[..., : padded_width(widths, shape)])
    return Rows(images, widths, texts, numbers.tolist())


def padded_width(widths: np.ndarray, shape: Shape) -> int:
    """Width of a batch: its widest picture's, rounded up to a multiple of 4, at most the shape's."""
    return min(shape.width, -(-int(widths.max(initial=1)) // 4) * 4) if shape.keep_ratio else shape.width


def channels_first(images: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2))


def nothing(shape: Shape, skipped: dict[int, str]) -> Rows:
    """One grey picture, for a batch in which nothing could be read."""
    image = np.full((1, shape.channels, shape.height, shape.width), PADDING, np.uint8)
    return Rows(image, np.array([shape.width], np.int32), [""], [], skipped)


def located(reason: str, where: str) -> str:
    return reason if where in reason else f"{where}: {reason}"


def measure_widths(source: Source, numbers: np.ndarray, shape: Shape) -> np.ndarray:
    """Widths in px that pictures will have before padding, from their headers: (n,) uint16."""
    widths = np.full(len(numbers), shape.width, np.uint16)
    for place, number in enumerate(numbers.tolist()):
        try:
            widths[place] = shape.fitted(*picture_size(source.encoded(number)))
        except DataError:
            continue  # it will be skipped, counted and named when it is read
    return widths
