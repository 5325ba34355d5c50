"""The first images of a sample side by side."""

from __future__ import annotations

from collections.abc import Iterator

import simplejpeg
from PIL import Image

from models.data.contact_sheet import contact_sheet
from models.rendering.sample import Sample

WIDTH, ROWS, ROW = 1560, 24, 34  # pixels, rows, pixels from one to the next


def draw_sample_sheet(sample: Sample) -> Image.Image:
    """Images as they are after JPEG, without captions: (816, 1560) grey."""
    return contact_sheet(((image, "") for image in decode_sample(sample)), WIDTH, ROW, ROWS)


def decode_sample(sample: Sample) -> Iterator[Image.Image]:
    """The images of a sample in their order, grey."""
    for task in sample.tasks(100):
        for place, word in enumerate(task.words):
            jpeg = sample.look.jpeg(word, task.first + place)[1]
            yield Image.fromarray(simplejpeg.decode_jpeg(jpeg, "GRAY")[..., 0])
