"""What a source of word images is: numbered samples, each an encoded image and a text.

Sources are picklable and open their files at first use, so that a data loader's workers (fork or spawn) each get their
own handles. Formats implement the abstract methods; the others have defaults that a format overrides where it knows a
faster way, as Packed does, whose images are decoded already.
"""

from __future__ import annotations

import numpy as np

from models.data.charset import Charset
from models.data.files import DataError
from models.data.image import Shape, decode, image_size
from models.data.rows import DecodedBatch, channels_first, pad, padded_width, stretch, with_location


class Source:
    """Numbered samples, 0-based. Methods that take an index raise DataError for a sample that cannot be used."""

    name: str
    is_sample: bool  # rendered to stand in for the real data set; tables and records say so
    how: str = ""  # of which format, and what gave it away, for a person
    shape: Shape | None = None  # in which images are stored decoded; None: they are encoded
    codes: Charset | None = None  # what its labels index, where they are integers

    def __len__(self) -> int:
        raise NotImplementedError

    def encoded(self, index: int) -> bytes | memoryview:
        """The encoded image. Raises UnreadableError."""
        raise NotImplementedError

    def label(self, index: int) -> str:
        raise NotImplementedError

    def where(self, index: int) -> str:
        """Where a sample is, as messages name it."""
        raise NotImplementedError

    def manifest(self) -> str | None:
        """sha256 over the list of samples and their labels; None where there is no list."""
        raise NotImplementedError

    def texts(self, begin: int, end: int) -> list[str]:
        """Labels of samples begin to end."""
        return [self.label(index) for index in range(begin, end)]

    def lexicon(self, index: int, column: str) -> list[str]:
        """The words that an image's text may be, from a column of a table or the keys `column-%09d` of an LMDB."""
        raise DataError(
            f"{self.where(index)}: no lexicon beside the image; an LMDB or a table with a header can have one"
        )

    def content(self, index: int) -> bytes | memoryview:
        """The bytes by which equal images are found."""
        return self.encoded(index)

    def content_digest(self) -> str:
        """What the writer of this set noted of all its samples (models/data/digest.py); empty: nothing."""
        return ""

    def stored(self, index: int) -> tuple[bytes | memoryview, bytes]:
        """A sample's content and its label, as they are in that digest."""
        return self.content(index), self.label(index).encode()

    def size(self, index: int) -> tuple[int, int]:
        """Height and width of an image in px, found by decoding all of it."""
        height, width, _ = decode(self.encoded(index)).shape
        return height, width

    def widths(self, numbers: np.ndarray, shape: Shape) -> np.ndarray:
        """Widths in px before padding, from the images' headers: (n,) uint16. Unreadable ones get the full width."""
        widths = np.full(len(numbers), shape.width, np.uint16)
        for i, number in enumerate(numbers.tolist()):
            try:
                widths[i] = shape.fit_width(*image_size(self.encoded(number)))
            except DataError:
                continue  # skipped, counted and named when it is read
        return widths

    def rows(self, numbers: np.ndarray, shape: Shape) -> DecodedBatch:
        """Decode samples into one batch; those that cannot be read are in its `skipped`."""
        images = np.empty((len(numbers), shape.height, shape.width, shape.channels), np.uint8)
        widths = np.full(len(numbers), shape.width, np.int32)
        place = pad if shape.keep_ratio else stretch
        texts: list[str] = []
        read: list[int] = []
        skipped: dict[int, str] = {}
        for number in numbers.tolist():
            try:
                text = self.label(number)
                image = decode(self.encoded(number), shape.channels)
            except DataError as error:
                skipped[number] = with_location(str(error), self.where(number))
                continue
            place(image, images, widths, len(read), shape)
            texts.append(text)
            read.append(number)
        n, widths = len(read), widths[: len(read)]
        return DecodedBatch(channels_first(images[:n, :, : padded_width(widths, shape)]), widths, texts, read, skipped)


def refuse_packed(sources: list[Source]) -> None:
    """Raises DataError when the images of a source are no longer encoded."""
    if packed := [source.name for source in sources if source.shape]:
        raise DataError(f"{packed[0]}: packed images cannot be mixed, split or converted; do that before packing")
