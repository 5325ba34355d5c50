"""A contact sheet: the first images of a sample side by side, for a person to look at."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import simplejpeg
from PIL import Image

from models.rendering.sample import Sample

WIDTH, ROWS, ROW, GAP = 1560, 24, 34, 4  # pixels


def contact_sheet(sample: Sample) -> Image.Image:
    """Rows of images as they are after JPEG, like words on a page: (816, 1560) grey."""
    sheet = Image.new("L", (WIDTH, ROWS * ROW), 255)
    x, y = 0, 0
    for picture in pictures(sample):
        if x + picture.shape[1] > WIDTH:
            x, y = 0, y + ROW
        if y >= sheet.height:
            break
        sheet.paste(Image.fromarray(picture), (x, y))
        x += picture.shape[1] + GAP
    return sheet


def pictures(sample: Sample) -> Iterator[np.ndarray]:
    """The decoded images of a sample in their order, (H, W) uint8."""
    for task in sample.tasks(100):
        for place, word in enumerate(task.words):
            yield simplejpeg.decode_jpeg(sample.look.jpeg(word, task.first + place)[1], "GRAY")[..., 0]
