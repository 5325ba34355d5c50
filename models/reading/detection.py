"""A whole photo or page: its lines of text are found by an existing detector and read by our recogniser.

The detector is rapidocr's, an extra that brings its weights in the wheel (`pip install -r requirements-detect.txt`):
PaddleOCR's differentiable binarisation (Liao et al. 2020, arXiv 1911.08947), for Chinese and English. It finds lines; a
recogniser of words, which knows no space, is given each line cut at its gaps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from bench.errors import UserError
from models.data.image import ImageSource, load_image
from models.reading.recogniser import Reading, Recogniser
from models.rendering.captions import draw_caption

EXTRA = "pip install -r requirements-detect.txt"
TALL = 1.5  # height over width of a box whose text runs up or down
GAP = 0.28  # of a line's height: wider gaps part words; between letters they are narrower
SAME_LINE = 0.5  # of a box's height: boxes whose middles are nearer are on one line
PAGE_PX, PAGE_ASPECT, UNSURE = 200, 2.5, 0.5  # what may be a page: both sides at least, width over height at most


@dataclass(frozen=True, eq=False)
class PageLine:
    """A line of text: where it is, and what it was read as.

    box: (4, 2) px of the upright image, clockwise from where the text begins. words: a reading for each part that was
    read by itself; of a recogniser that knows spaces, one.
    """

    box: np.ndarray
    words: list[Reading]

    @property
    def text(self) -> str:
        return " ".join(word.text for word in self.words if word.text)

    @property
    def confidence(self) -> float:
        """That all of it is right: of its least sure word."""
        return min((word.confidence for word in self.words), default=0.0)


class LineDetector:
    """Finds lines of text. For one thread at a time."""

    def __init__(self) -> None:
        """Raises UserError where the extra is not installed."""
        try:
            from rapidocr import RapidOCR  # an extra, and seconds to import
        except ImportError as error:
            raise UserError(f"--detect needs the detector ({error}): {EXTRA}") from None
        self.find: Any = RapidOCR(
            params={"Global.log_level": "error", "Global.use_rec": False, "Global.use_cls": False}
        )

    def __call__(self, image: np.ndarray) -> list[np.ndarray]:
        """Boxes (4, 2) in px of an RGB image (h, w, 3), in reading order."""
        found = self.find(np.ascontiguousarray(image[:, :, ::-1]), use_det=True, use_cls=False, use_rec=False)
        return in_reading_order([] if found.boxes is None else [np.asarray(box, np.float32) for box in found.boxes])


def in_reading_order(boxes: Sequence[np.ndarray]) -> list[np.ndarray]:
    """From top to bottom, and on one line from left to right."""
    lines: list[list[np.ndarray]] = []
    for box in sorted(boxes, key=lambda box: float(box[:, 1].mean())):
        last = lines[-1][-1] if lines else None
        apart = np.inf if last is None else float(box[:, 1].mean() - last[:, 1].mean())
        if last is not None and apart < SAME_LINE * min(np.ptp(box[:, 1]), np.ptp(last[:, 1])):
            lines[-1].append(box)
        else:
            lines.append([box])
    return [box for line in lines for box in sorted(line, key=lambda box: float(box[:, 0].min()))]


def cut_out(image: Image.Image, box: np.ndarray) -> np.ndarray:
    """The box (4, 2) as an upright image (h, w, 3); text that runs up or down is turned to be read from the left."""
    sides = [float(np.linalg.norm(box[i] - box[(i + 1) % 4])) for i in range(4)]
    width, height = round(max(sides[0], sides[2], 1)), round(max(sides[1], sides[3], 1))
    corners = box[[0, 3, 2, 1]].ravel().tolist()  # Pillow goes counter-clockwise
    cut = image.transform((width, height), Image.Transform.QUAD, corners, Image.Resampling.BICUBIC)
    array = np.asarray(cut)
    return np.ascontiguousarray(np.rot90(array)) if height > TALL * width else array


def word_spans(line: np.ndarray) -> list[tuple[int, int]]:
    """Columns [begin, end) of the words of a line (h, w, 3), parted where nothing is written for GAP of its height.

    What is written is what is farther from the background, which most of a line is, than half of the farthest.
    """
    grey = line.mean(axis=2)
    distance = np.abs(grey - np.median(grey))
    inked = (distance > max(np.percentile(distance, 99) / 2, 12)).any(axis=0)
    columns = np.flatnonzero(inked)
    if not len(columns):
        return [(0, line.shape[1])]
    ends = np.flatnonzero(np.diff(columns) > GAP * line.shape[0])
    firsts, lasts = [columns[0], *columns[ends + 1]], [*columns[ends], columns[-1]]
    margin = max(1, round(0.1 * line.shape[0]))
    return [
        (max(0, int(first) - margin), min(line.shape[1], int(last) + 1 + margin))
        for first, last in zip(firsts, lasts, strict=True)
    ]


def read_page(source: ImageSource, detector: LineDetector, reader: Recogniser) -> tuple[Image.Image, list[PageLine]]:
    """The upright image and its lines, in reading order. Raises UnreadableError for what is no image."""
    photo = load_image(source, 3, reader.most_pixels)
    boxes, parts = find_parts(photo, detector, reader)
    return Image.fromarray(photo), page_lines(boxes, parts, reader([part for line in parts for part in line]))


def find_parts(
    photo: np.ndarray, detector: LineDetector, reader: Recogniser
) -> tuple[list[np.ndarray], list[list[np.ndarray]]]:
    """The boxes of a photo's lines, and of each the images (h, w, 3) that are read by themselves."""
    image, knows_spaces = Image.fromarray(photo), " " in reader.charset.characters or reader.shape.keep_ratio
    boxes, parts = detector(photo), []
    for box in boxes:
        line = cut_out(image, box)
        spans = [(0, line.shape[1])] if knows_spaces else word_spans(line)
        parts.append([np.ascontiguousarray(line[:, begin:end]) for begin, end in spans])
    return boxes, parts


def page_lines(
    boxes: Sequence[np.ndarray], parts: Sequence[Sequence[np.ndarray]], readings: Sequence[Reading]
) -> list[PageLine]:
    """What `find_parts` found, with a reading for each part in turn."""
    each = iter(readings)
    return [PageLine(box, [next(each) for _ in line]) for box, line in zip(boxes, parts, strict=True)]


def draw_page(image: Image.Image, lines: Sequence[PageLine]) -> Image.Image:
    """The image with its boxes, and beside it the texts where they stand."""
    drawn = Image.new("RGB", (2 * image.width, image.height), "white")
    drawn.paste(image, (0, 0))
    pen = ImageDraw.Draw(drawn)
    for line in lines:
        corners = [tuple(point) for point in line.box.tolist()]
        pen.polygon(corners, outline="red", width=2)
        size = max(8, min(60, round(float(np.ptp(line.box[:, 1])) * 0.6)))
        draw_caption(pen, (image.width + round(corners[0][0]), round(min(y for _, y in corners))), line.text, size)
    return drawn


def may_be_page(width: int, height: int, reading: Reading) -> bool:
    """Whether an image that was read as one word, and badly, may hold several: of what a person should be told."""
    large = min(width, height) >= PAGE_PX and width <= PAGE_ASPECT * height
    return large and (not reading.text or reading.confidence < UNSURE)
