"""Lists of images in text files: one line an image, in one of the shapes of models/data/line_shapes.py.

`recognise_list` looks at the first lines of a file and at some spread over the rest, and a `Listing` reads it with what
that found: encoding, shape, header, where the images lie. A line that is not of the shape is an image that cannot
be used: named, counted and left out by all programs alike.
"""

from __future__ import annotations

import codecs
import hashlib
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from models.data.charset import Charset
from models.data.files import (
    LARGEST_DOCUMENT,
    LONGEST,
    DataError,
    Lines,
    UnreadableError,
    read_beginning,
    read_document,
    read_inside,
)
from models.data.line_shapes import (
    SECOND_ROW,
    SHAPES,
    SYNTH90K,
    Columns,
    Integers,
    LineShape,
    Row,
    header_columns,
    is_image,
)
from models.data.source import Source
from models.data.text import clean_label, split_lexicon

FIRST, SPREAD = 50, 50  # lines that are looked at: the first, and some spread over the rest
FITS = 0.9  # share of them that must be of a shape; the others are left out, as such lines further down are
UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
UTF8 = ("utf-8", "utf8", "utf-8-sig")
SAY_ENCODING = (
    "say --encoding gb18030 (or latin-1, utf-16-le, ...) to models.prepare; training and testing take what it writes"
)
ROW = "a list has a line `image.png<TAB>label` for each image (docs/data.md has other formats)"


@dataclass
class TextFile:
    """A text file that may be a list: its lines, and the encoding that they really have."""

    path: Path
    lines: Lines
    encoding: str

    @classmethod
    def open(cls, path: Path, encoding: str) -> TextFile:
        """Raises DataError for an encoding that the file cannot have."""
        begin = read_beginning(path, 2)
        if begin in UTF16_MARKS:
            encoding = "utf-16"
        elif b"\0" in begin and encoding in UTF8:
            raise DataError(f"{path}: has zero bytes, as UTF-16 has; {SAY_ENCODING}")
        if "\n\t,a".encode(encoding, "ignore") == b"\n\t,a":
            return cls(path, Lines(path), encoding)
        if path.stat().st_size > LARGEST_DOCUMENT:
            raise DataError(f"{path}: {encoding} of this size is not read; make it UTF-8 with `iconv -t utf-8`")
        try:
            return cls(path, Lines(path, read_document(path).decode(encoding).encode()), "utf-8")
        except UnicodeError as error:
            raise DataError(f"{path}: not {encoding} ({error}); {SAY_ENCODING}") from None

    def text(self, index: int) -> str:
        """A line, whatever its bytes are."""
        return self.lines.peek(index).decode(self.encoding, "replace").lstrip("\ufeff")

    def sample(self) -> list[int]:
        """Numbers of the lines that are looked at."""
        last = len(self.lines) - 1
        return sorted({*range(min(FIRST, last + 1)), *(last * i // SPREAD for i in range(SPREAD + 1) if last >= 0)})

    def check_encoding(self) -> None:
        """Refuse a file that is in another encoding, before a single label is wrong."""
        decoder = codecs.getincrementaldecoder(self.encoding)()
        try:
            for block in self.lines.blocks():
                if self.encoding not in UTF8 or not block.isascii() or decoder.getstate()[0]:
                    decoder.decode(block)
            decoder.decode(b"", final=True)  # the last character may be cut
        except UnicodeDecodeError as error:
            raise DataError(f"{self.path}: not {self.encoding} ({error.reason}); {SAY_ENCODING}") from None


@dataclass
class Recognised:
    """A text file as a list: the shape that fits most of the lines looked at, and what speaks against it."""

    file: TextFile
    name: str  # of the shape
    shape: LineShape
    rows: dict[int, Row]  # of the lines looked at that fit, by number
    looked_at: int
    spoiled: str = ""  # the first line that does not fit, and why
    refusal: str = ""  # why it is not read although its lines fit

    @property
    def fits(self) -> bool:
        return not self.refusal and 0 < len(self.rows) >= FITS * self.looked_at

    @property
    def nearest(self) -> str:
        """What came nearest, the line that spoiled it, and what to do."""
        path = self.file.path
        if self.refusal:
            return f"{path}: {self.refusal}"
        if not self.looked_at:
            return f"{path}: no lines in it; {ROW}"
        if not self.rows:
            return f"{path}: {self.spoiled}; {ROW}"
        share = f"{len(self.rows)} of the {self.looked_at} lines looked at are of the format {self.name}"
        return f"{path}: {share}; {self.spoiled}; {ROW}"


def recognise_list(path: Path, encoding: str, codes: Path | None = None, only: str | None = None) -> Recognised:
    """Of which shape a text file is. `only` that one is thought of; `codes` is the charset file that integers index."""
    file = TextFile.open(path, encoding)
    texts = {number: file.text(number) for number in file.sample()}
    shapes = possible_shapes(list(texts.values()), codes, only)
    if any(isinstance(shape, Columns) for shape in shapes.values()):
        del texts[0]
    texts = {n: text for n, text in texts.items() if not is_comment(text, shapes.values())}
    found = [Recognised(file, name, shape, rows_of(shape, texts), len(texts)) for name, shape in shapes.items()]
    best = max(found, key=lambda one: len(one.rows))
    if bad := [number for number in texts if number not in best.rows]:
        best.spoiled = f"line {file.lines.number(bad[0])}: {texts[bad[0]][:80]!r} {why_not(texts[bad[0]])}"
    if not only:
        best.refusal = why_refused(best, list(texts.values()), codes)
    return best


def possible_shapes(texts: list[str], codes: Path | None, only: str | None) -> dict[str, LineShape]:
    """The shapes to try, by name: that of a table whose header the first line is, else all; or the one asked for."""
    columns = header_columns(texts[0]) if texts else None
    if columns and only in (None, columns.format):
        return {columns.format: columns}
    shapes = dict(SHAPES)
    if codes and (only == "integers" or are_codes(texts, Charset.of_codes(codes))):
        shapes = {"integers": Integers(Charset.of_codes(codes)), **shapes}
    return {only: shapes[only]} if only in shapes else shapes


def rows_of(shape: LineShape, texts: dict[int, str]) -> dict[int, Row]:
    """The rows among lines. A code that the alphabet lacks is of the shape; the line is left out when it is read."""
    rows = {}
    for number, text in texts.items():
        try:
            row = shape(text)
        except DataError:
            row = (text.split()[0], "")
        if row:
            rows[number] = row
    return rows


def is_comment(text: str, shapes: Iterable[LineShape]) -> bool:
    """Whether a line that begins with # is no image whose name does."""
    return text.startswith("#") and not any(rows_of(shape, {0: text}) for shape in shapes)


def are_codes(texts: list[str], charset: Charset) -> bool:
    """Whether integers beside a charset file are classes of it: several on some line, or all of them its classes."""
    codes = [text.split()[1:] for text in texts if rows_of(Integers(charset), {0: text})]
    single = [int(some[0]) for some in codes if len(some) == 1]
    return any(len(some) > 1 for some in codes) or (bool(codes) and all(0 < one < charset.classes for one in single))


def why_not(text: str) -> str:
    """What a line lacks to be a row."""
    if "\0" in text:
        return f"has zero bytes, as UTF-16 has; {SAY_ENCODING}"
    if len(SECOND_ROW.findall(text)) > 1:
        return "holds two images: is the end of a line missing?"
    for delimiter, name in (("\t", "tabs"), (",", "commas")):
        if text.count(delimiter) > 1 and is_image(text.split(delimiter)[0].strip()):
            columns = f"{text.count(delimiter) + 1} columns between {name}"
            return f"has {columns}; a first line like filename{delimiter}text{delimiter}... says which is the label"
    if phone := re.search(r"\.(heic|heif|avif|jxl)\b", text, re.IGNORECASE):
        return f"names a {phone[1].upper()}, which is not read: save it as JPEG"
    if not re.search(r"\.\w{3,4}\b", text):
        return "names no image file"
    return "is not an image and its label"


def why_refused(found: Recognised, texts: list[str], codes: Path | None) -> str:
    """Why rows that fit a shape are not what they seem; empty: they are."""
    labels = [label for _, label in found.rows.values()]
    if not labels or found.name == "iam":
        return ""
    if found.name == "space" and all(SYNTH90K.fullmatch(text) for text in texts):
        return (
            "these are Synth90k's annotations, whose numbers are lines of lexicon.txt, not labels; put lexicon.txt "
            "beside it"
        )
    if any(label.lstrip().startswith('[{"transcription"') for label in labels):
        return "its labels are PaddleOCR's of text detection, boxes and texts; cut the words out first"
    if found.name != "integers" and all(re.fullmatch(r"\d+(\s+\d+)+", label.strip()) for label in labels):
        return (
            "its labels are numbers; name the charset file that they index with --codes, or --format space for digits"
        )
    if found.name == "integers" and not any(re.search(r"\d\s+\d+\s*$", text) for text in texts):
        return f"its labels may be classes of {codes} or digits: say --format integers, or --format space"
    if all(map(is_image, labels)):
        return "its labels are names of images, not texts"
    widths = {text.count(",") for text in texts}
    if found.name == "csv" and not isinstance(found.shape, Columns) and min(widths) == max(widths) > 1 < len(texts):
        return f"line 1 has {max(widths) + 1} columns: which is the label? Name them in a first line, filename,text,..."
    return ""


class Listing(Source):
    """The images that a text file lists, one a line, as it was recognised."""

    is_sample = False

    def __init__(self, found: Recognised, image_root: Path | None = None):
        self.path, self.lines, self.encoding = found.file.path, found.file.lines, found.file.encoding
        self.parse = found.shape
        self.codes = found.shape.charset if isinstance(found.shape, Integers) else None
        self.name = self.path.parent.name
        found.file.check_encoding()
        self.numbers = kept_lines(found)
        if not len(self):
            raise DataError(f"{self.path}: lists no images")
        paths = [path for path, _ in found.rows.values() if "\0" not in path]
        self.folder, self.root = image_folder(self.path, paths, image_root)

    def __len__(self) -> int:
        return len(self.lines) if self.numbers is None else len(self.numbers)

    def text(self, index: int) -> str:
        """The line of a sample."""
        line = self.lines[index if self.numbers is None else int(self.numbers[index])]
        if len(line) > LONGEST:
            raise UnreadableError(f"{self.where(index)}: {len(line):,} bytes, more than {LONGEST:,}")
        return line.decode(self.encoding).lstrip("\ufeff")

    def row(self, index: int) -> Row:
        text = self.text(index)
        row = self.parse(text)
        if row is None:
            raise UnreadableError(f"{self.where(index)}: {text[:80]!r} {why_not(text)}")
        return row

    def encoded(self, index: int) -> bytes:
        return read_inside(self.folder, self.row(index)[0], self.root)

    def label(self, index: int) -> str:
        return clean_label(self.row(index)[1])

    def lexicon(self, index: int, column: str) -> list[str]:
        if not isinstance(self.parse, Columns):
            raise DataError(f"{self.path}: its first line does not name columns, so none is {column}")
        if column.lower() not in self.parse.names:
            raise DataError(f"{self.path}: no column {column}; there are {', '.join(self.parse.names)}")
        self.row(index)
        return split_lexicon(self.parse.fields(self.text(index))[self.parse.names.index(column.lower())])

    def where(self, index: int) -> str:
        return f"{self.path}: line {self.lines.number(index if self.numbers is None else int(self.numbers[index]))}"

    def manifest(self) -> str:
        digest = hashlib.sha256()
        for block in Lines(self.path).blocks():
            digest.update(block)
        return digest.hexdigest()


def kept_lines(found: Recognised) -> np.ndarray | None:
    """Numbers of the lines that are samples; None: all. Comments are none, nor a header, nor words that IAM rejects."""
    lines = found.file.lines
    if found.name == "iam":
        return np.flatnonzero([line.split(b" ")[1:2] == [b"ok"] for line in lines]).astype(np.uint32)
    left_out = [n for n in lines.hashes if is_comment(found.file.text(n), [found.shape])]
    if isinstance(found.shape, Columns):
        left_out.append(0)
    return np.delete(np.arange(len(lines), dtype=np.uint32), left_out) if left_out else None


def image_folder(listed_in: Path, paths: list[str], root: Path | None) -> tuple[Path, Path]:
    """Where a list's paths start, and the folder that they may not leave.

    They start where most of some paths exist: beside the list, in images/ there, in a folder called as the list, or
    above it, where they lead back into the list's folder (PaddleOCR's and CRNN_Tensorflow's start at the project's).
    """
    beside = listed_in.parent
    if root:
        places = [root, *([beside] if beside.resolve().is_relative_to(root.resolve()) else [])]
        return most_found(places, paths) or root, root
    near = [beside, beside / "images", beside / listed_in.stem, beside.parent]
    if place := most_found(near, paths):
        return place, place if place == beside.parent else beside
    inside = f"{beside.resolve()}/"
    above = list(beside.resolve().parents)[1:4]
    back = [path for path in paths if any(os.path.realpath(f"{place}/{path}").startswith(inside) for place in above)]
    return most_found(above, back) or beside, beside


def most_found(places: list[Path], paths: list[str]) -> Path | None:
    """The first of the places from which most of the paths lead to a file; None: none does from any."""
    found = [sum(os.path.isfile(f"{place}/{path}") for path in paths) for place in places]  # noqa: PTH113
    return places[found.index(max(found))] if any(found) else None
