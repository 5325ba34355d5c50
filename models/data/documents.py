"""Images and labels listed in JSON (MMOCR, docTR) or told by the files' own names."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any

from bench.errors import HALVES
from models.data.files import DataError, read_inside
from models.data.listing import IMAGE, Row, image_folder
from models.data.source import Source


class Table(Source):
    """Images below a folder and their labels, both in lists: for sets of at most some hundred thousand samples."""

    is_sample = False

    def __init__(self, listed_in: Path, rows: list[Row], folder: Path | None = None):
        if not rows:
            raise DataError(f"{listed_in}: lists no images")
        self.listed_in, self.entries = listed_in, rows
        self.folder = folder or image_folder(listed_in, rows[0][0])
        self.name = self.folder.name if self.folder.name != "images" else self.folder.parent.name

    def __len__(self) -> int:
        return len(self.entries)

    def encoded(self, index: int) -> bytes:
        return read_inside(self.folder, self.entries[index][0], str(self.listed_in))

    def label(self, index: int) -> str:
        return self.entries[index][1]

    def where(self, index: int) -> str:
        return f"{self.listed_in}: {self.entries[index][0]}"

    def manifest(self) -> str:
        return hashlib.sha256(json.dumps(self.entries).encode()).hexdigest()


def read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not JSON: {error}") from None


def open_mmocr(path: Path) -> Table:
    """MMOCR 1.x: {"metainfo": ..., "data_list": [{"img_path": "a.jpg", "instances": [{"text": "x"}]}]}."""
    rows = []
    for number, entry in enumerate(read_json(path)["data_list"], 1):
        try:
            row = entry["img_path"], entry["instances"][0]["text"]
        except (KeyError, IndexError, TypeError) as error:
            raise DataError(f"{path}: data_list entry {number} lacks img_path or instances[0].text ({error})") from None
        rows.append(strings(row, f"{path}: data_list entry {number}"))
    return Table(path, rows)


def open_doctr(path: Path) -> Table:
    """docTR: {"a.jpg": "text"} beside images/."""
    return Table(path, [strings(row, f"{path}: {row[0]!r}") for row in read_json(path).items()])


def strings(row: tuple[Any, ...], where: str) -> Row:
    if not all(isinstance(value, str) for value in row):
        raise DataError(f"{where}: a path and a label must be strings, not {row}")
    if HALVES.search("".join(row)):
        raise DataError(f"{where}: half of a surrogate pair, which is no text: {row}")
    return row


def open_named(folder: Path) -> Table:
    """Files named `label_123.jpg`, below a folder, sorted."""
    paths = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if IMAGE.fullmatch(path.name))
    return Table(folder, [(path, label_of(path)) for path in paths], folder)


def label_of(path: str) -> str:
    """From the name of a file, which need not be text."""
    return re.sub(r"_\d+$", "", HALVES.sub("\ufffd", Path(path).stem))
