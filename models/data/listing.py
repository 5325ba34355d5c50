"""Lists of images in text files: one line an image, in each of the shapes that the field writes.

A line's shape is a function from the line to (path, label), or None where the line is not of that shape.
"""

from __future__ import annotations

import codecs
import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models.data.charset import Charset
from models.data.files import LONGEST, DataError, Lines, UnreadableError, read_inside
from models.data.source import Source

Row = tuple[str, str]
LineShape = Callable[[str], Row | None]
IMAGE = re.compile(r"[^\t]*\.(jpe?g|png|gif|bmp|tiff?|webp|ppm|pgm)", re.IGNORECASE)
ICDAR = re.compile(r'([^,]+),\s*"(.*)"|([^,]+),\s*([^"].*)')
SYNTH90K = re.compile(r"(.*/)?\d+_([^_/]*)_(\d+)\.jpe?g (\d+)")


def tab(line: str) -> Row | None:
    """`path<TAB>label`; the label may hold spaces."""
    path, found, label = line.partition("\t")
    return (path.strip(), label) if found else None


def space(line: str) -> Row | None:
    """`path label`."""
    path, found, label = line.rstrip().partition(" ")
    return (path, label) if found and " " not in label else None


def icdar(line: str) -> Row | None:
    """`word_1.png, "JOINT"`, as ICDAR's tasks have it, a quote in the label written with a backslash."""
    match = ICDAR.fullmatch(line.strip())
    if match is None:
        return None
    path, quoted, bare_path, bare = match.groups()
    return (path, re.sub(r'\\(["\\])', r"\1", quoted)) if path else (bare_path, bare)


@dataclass(frozen=True)
class Integers:
    """`path 10 10 4 6`: classes of a charset, 0 reserved for the blank."""

    charset: Charset

    def __call__(self, line: str) -> Row | None:
        path, *codes = line.split()
        if not codes or not all(code.isdecimal() for code in codes):
            return None
        if not all(0 < int(code) < self.charset.classes for code in codes):
            raise DataError(
                f"{line!r}: a code is not in 1 to {self.charset.classes - 1}, the charset file's characters"
            )
        return path, self.charset.decode(map(int, codes))


def iam(line: str) -> Row | None:
    """`a01-000u-00-00 ok 154 408 768 27 51 AT A`: the word's name, verdict, grey level, box, tag, text."""
    fields = line.split(" ", 8)
    parts = fields[0].split("-")
    if len(fields) < 9 or fields[1] not in ("ok", "err") or len(parts) < 3:
        return None
    return f"words/{parts[0]}/{parts[0]}-{parts[1]}/{fields[0]}.png", fields[8]


class Listing(Source):
    """The images that a text file lists, one a line, in one of the shapes above."""

    is_sample = False

    def __init__(
        self, path: Path, parse: LineShape, encoding: str = "utf-8", keep: Callable[[bytes], bool] | None = None
    ):
        self.path, self.parse, self.encoding = path, parse, encoding
        self.name = path.parent.name
        self.lines = Lines(path)
        check_encoding(path, encoding)
        self.numbers = None  # of the lines kept, counted from 0
        if keep is not None:
            self.numbers = np.flatnonzero([keep(line) for line in self.lines]).astype(np.uint32)
        if not len(self):
            raise DataError(f"{path}: lists no images")
        self.folder = image_folder(path, self.row(0)[0])

    def __len__(self) -> int:
        return len(self.lines) if self.numbers is None else len(self.numbers)

    def line(self, index: int) -> int:
        """Number of a sample's line among those that are not empty, counted from 1, as errors name it."""
        return (index if self.numbers is None else int(self.numbers[index])) + 1

    def row(self, index: int) -> Row:
        number = self.line(index)
        if len(line := self.lines[number - 1]) > LONGEST:
            raise UnreadableError(f"{self.path}: line {number}: {len(line):,} bytes, more than {LONGEST:,}")
        text = line.decode(self.encoding).removeprefix("\ufeff")
        row = self.parse(text)
        if row is None:
            raise DataError(f"{self.path}: line {number}: {text[:80]!r} is not an image and its label")
        return row

    def encoded(self, index: int) -> bytes:
        return read_inside(self.folder, self.row(index)[0], f"{self.path}: line {self.line(index)}")

    def label(self, index: int) -> str:
        return self.row(index)[1]

    def where(self, index: int) -> str:
        return f"{self.path}: line {self.line(index)}"

    def manifest(self) -> str:
        return hashlib.sha256(self.path.read_bytes()).hexdigest()


def check_encoding(path: Path, encoding: str) -> None:
    """Refuse a file that is in another encoding, before a single label is wrong."""
    decoder = codecs.getincrementaldecoder(encoding)()
    with path.open("rb") as file:
        try:
            while block := file.read(1 << 20):
                decoder.decode(block)
            decoder.decode(b"", final=True)  # the last character may be cut
        except UnicodeDecodeError as error:
            raise DataError(f"{path}: not {encoding} ({error.reason}); say --encoding, gb18030 perhaps") from None


def image_folder(listed_in: Path, first: str) -> Path:
    """Where a list's paths start: beside the list, in images/ there, or in a folder called as the list."""
    beside = listed_in.parent
    places = [beside, beside / "images", beside / listed_in.stem, beside.parent]
    return next((place for place in places if (place / first.lstrip("/")).is_file()), beside)
