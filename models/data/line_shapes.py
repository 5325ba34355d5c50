"""The shapes of a line that names an image and its label, as the field's tools write them.

A shape turns a line into (path, label), or None where the line is not of that shape.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from models.data.charset import Charset
from models.data.files import DataError

Row = tuple[str, str]
LineShape = Callable[[str], Row | None]
ENDINGS = r"\.(?:jpe?g|jfif|png|gif|bmp|tiff?|webp|p[bgnp]m)"
IMAGE = re.compile(rf"[^\t]*{ENDINGS}", re.IGNORECASE)
SPACE = re.compile(rf"([^\t]*?{ENDINGS})(?:[ \u3000]+(.*))", re.IGNORECASE)  # the path may have blanks, too
SECOND_ROW = re.compile(rf"{ENDINGS}(?![\w.])", re.IGNORECASE)  # inside a label: the line before lost its end
INTEGERS = re.compile(rf"([^\t]*?{ENDINGS})((?:\s+\d+)+)\s*", re.IGNORECASE)
ICDAR = re.compile(r'([^,"]+),(?:\s+"(.*)"|\s+([^"\s].*)|\s*"((?:[^"\\]|\\.)*)")\s*')
SEPARATED = re.compile(rf'\s*"?[^\t]*?{ENDINGS}"?([,;])(\s?)', re.IGNORECASE)
SYNTH90K = re.compile(r"(.*/)?[^_/]*_[^_/]*_(\d+)\.jpe?g \2")  # the file's name ends in the number of its word
PATH_COLUMNS = (
    "filename", "file_name", "file", "image", "img", "images", "image_path", "img_path", "image_name", "img_name",
    "imagename", "image_file", "path", "filepath", "file_path", "name", "ocr",
)  # fmt: skip
TEXT_COLUMNS = (
    "text", "label", "labels", "words", "word", "transcription", "transcript", "gt", "ground_truth", "caption",
    "value", "string", "sentence",
)  # fmt: skip


def is_image(path: str) -> bool:
    return IMAGE.fullmatch(path) is not None


def row_or_none(path: str, label: str) -> Row | None:
    return (path.strip(), label) if is_image(path.strip()) else None


def tab(line: str) -> Row | None:
    """`path<TAB>label`; the label may hold spaces. A third column is no label: which of them is?"""
    fields = line.split("\t")
    if len(fields) > 2 and not SECOND_ROW.search(fields[1]):
        fields = line.rstrip("\t").split("\t")
    return row_or_none(*fields) if len(fields) == 2 else None


def space(line: str) -> Row | None:
    """`path label`, any number of blanks between; the label may hold some, as TextRecognitionDataGenerator's do."""
    match = SPACE.fullmatch(line)
    return (match[1].lstrip(), match[2]) if match and not SECOND_ROW.search(match[2]) else None


def icdar(line: str) -> Row | None:
    """`word_1.png, "JOINT"`, as ICDAR's tasks have it, a quote in the label written with a backslash."""
    match = ICDAR.fullmatch(line.strip())
    if match is None:
        return None
    path, quoted, bare, tight = match.groups()
    if bare is not None:
        return row_or_none(path, bare)
    label: str = quoted if quoted is not None else tight
    if tight is not None and '\\"' not in tight:
        return None  # CSV
    return row_or_none(path, re.sub(r'\\(["\\])', r"\1", label))


def separated(line: str) -> Row | None:
    """CSV of two columns as the csv module, pandas and spreadsheets write it, some of them with semicolons.

    Also with commas in labels that are not quoted, as EasyOCR's labels.csv has them, and with ICDAR's backslashes.
    """
    match = SEPARATED.match(line)
    if match is None:
        return None
    delimiter, blank = match.groups()
    fields = csv_fields(line, delimiter)
    if blank or fields is None:
        return icdar(line)
    if len(fields) > 2 and '"' not in line:
        fields = line.split(delimiter, 1)
        if SECOND_ROW.search(fields[1]):
            return None
    return row_or_none(*fields) if len(fields) == 2 else None


def csv_fields(line: str, delimiter: str) -> list[str] | None:
    """The fields of one line; None where its quotes do not close."""
    try:
        return next(csv.reader([line], delimiter=delimiter, strict=True), None)
    except csv.Error:
        return None


def iam(line: str) -> Row | None:
    """`a01-000u-00-00 ok 154 408 768 27 51 AT A`: the word's name, verdict, grey level, box, tag, text."""
    fields = line.split(" ", 8)
    parts = fields[0].split("-")
    if len(fields) < 9 or fields[1] not in ("ok", "err") or len(parts) < 3:
        return None
    return f"words/{parts[0]}/{parts[0]}-{parts[1]}/{fields[0]}.png", fields[8]


def json_line(line: str) -> Row | None:
    """`{"filename": "a.jpg", "text": "x"}`, as MMOCR 0.x and Hugging Face's metadata.jsonl have it."""
    if line[:1] != "{":
        return None
    try:
        return row_of_object(json.loads(line))
    except (ValueError, RecursionError):
        return None


def row_of_object(entry: Any) -> Row | None:
    """An image's path and its text by the names that tools give them."""
    if not isinstance(entry, dict):
        return None
    paths = [entry[name] for name in PATH_COLUMNS if isinstance(entry.get(name), str)]
    texts = [entry[name] for name in TEXT_COLUMNS if isinstance(entry.get(name), str)]
    path = next(filter(is_image, paths), None)
    return (path, texts[0]) if path and texts else None


@dataclass(frozen=True)
class Integers:
    """`path 10 10 4 6`: classes of an alphabet, 0 reserved for the blank."""

    charset: Charset

    def __call__(self, line: str) -> Row | None:
        match = INTEGERS.fullmatch(line)
        if match is None:
            return None
        codes = match[2].split()
        if not all(len(code) < 9 and 0 < int(code) < self.charset.classes for code in codes):
            raise DataError(
                f"{line[:80]!r}: a code is not in 1 to {self.charset.classes - 1}, the characters of the charset file"
            )
        return match[1].lstrip(), self.charset.decode(map(int, codes))


@dataclass(frozen=True)
class Columns:
    """A table with a header row: which of its columns is the path, which is the text."""

    delimiter: str
    width: int
    path: int
    label: int
    names: tuple[str, ...] = ()  # of the columns, in lower case

    @property
    def format(self) -> str:
        return "tab" if self.delimiter == "\t" else "csv"

    def fields(self, line: str) -> list[str]:
        fields = csv_fields(line, self.delimiter) or line.split(self.delimiter)
        if len(fields) > self.width == 2 and (self.path, self.label) == (0, 1) and '"' not in line:
            return line.split(self.delimiter, 1)  # EasyOCR's labels.csv does not quote commas
        return fields

    def __call__(self, line: str) -> Row | None:
        fields = self.fields(line)
        return row_or_none(fields[self.path], fields[self.label]) if len(fields) == self.width else None


def header_columns(line: str) -> Columns | None:
    """What a first line says that names columns; None: it is none, or names no path or no text."""
    for delimiter in "\t,;":
        fields = [field.strip().strip('"').lower() for field in line.split(delimiter)]
        path, label = (next((fields.index(name) for name in names if name in fields), None)
                       for names in (PATH_COLUMNS, TEXT_COLUMNS))  # fmt: skip
        if path is not None and label is not None:
            return Columns(delimiter, len(fields), path, label, tuple(fields))
    return None


SHAPES: dict[str, LineShape] = {
    "jsonl": json_line,
    "iam": iam,
    "tab": tab,
    "icdar": icdar,
    "csv": separated,
    "space": space,
}
