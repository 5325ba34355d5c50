"""Images and labels listed in JSON (MMOCR, docTR, lists of objects) or told by the files' own names."""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path
from typing import Any

from bench.errors import HALVES
from models.data.files import DataError, read_beginning, read_document, read_inside
from models.data.line_shapes import PATH_COLUMNS, TEXT_COLUMNS, Row, is_image, row_of_object
from models.data.listing import image_folder
from models.data.source import Source
from models.data.text import clean_label

SPREAD = 100  # rows by which the folder of the images is found
NUMBERED = re.compile(r"(.+)_\d+\.\w+", re.DOTALL)


class Table(Source):
    """Images below a folder and their labels, both in lists: for sets of at most some hundred thousand samples."""

    is_sample = False

    def __init__(self, listed_in: Path, rows: list[Row], image_root: Path | None = None):
        if not rows:
            raise DataError(f"{listed_in}: lists no images")
        self.listed_in, self.entries = listed_in, rows
        paths = [path for path, _ in rows[:: len(rows) // SPREAD + 1] if "\0" not in path]
        self.folder, self.root = image_folder(listed_in, paths, image_root)
        self.name = self.folder.name if self.folder.name != "images" else self.folder.parent.name

    def __len__(self) -> int:
        return len(self.entries)

    def encoded(self, index: int) -> bytes:
        return read_inside(self.folder, self.entries[index][0], self.root)

    def label(self, index: int) -> str:
        return clean_label(self.entries[index][1])

    def where(self, index: int) -> str:
        return f"{self.listed_in}: {self.entries[index][0]}"

    def manifest(self) -> str:
        """sha256 over paths and labels."""
        return hashlib.sha256(json.dumps(self.entries).encode()).hexdigest()


def read_json(path: Path) -> Any:
    try:
        return json.loads(read_document(path).decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: not JSON: {error}") from None


def is_json_lines(path: Path) -> bool:
    """Whether each line of a file is JSON, whatever the file is called: two objects in a row."""
    lines = [line for line in read_beginning(path, 1 << 16).splitlines() if line.strip()][:2]
    try:
        return len(lines) == 2 and all(isinstance(json.loads(line), dict) for line in lines)
    except (ValueError, RecursionError):
        return False


def kind_of_json(content: object) -> str | None:
    """The format of a JSON document that lists images, by what it holds."""
    if isinstance(content, dict) and isinstance(content.get("data_list"), list):
        return "mmocr"
    if isinstance(content, dict) and content and all(map(is_image, content)):
        return "doctr"
    if isinstance(content, list) and any(map(row_of_object, content)):
        return "json"
    return None


def rows_of_json(path: Path, content: Any) -> list[Row]:
    """Images and labels of a document of a kind above. Raises DataError for an entry that has not both."""
    if kind_of_json(content) == "doctr":
        return [strings(row, f"{path}: {row[0]!r}") for row in content.items()]
    if kind_of_json(content) == "json":
        return [row_of_entry(path, number, entry) for number, entry in enumerate(content, 1)]
    rows = []
    for number, entry in enumerate(content["data_list"], 1):
        try:
            row = entry["img_path"], entry["instances"][0]["text"]
        except (KeyError, IndexError, TypeError) as error:
            raise DataError(f"{path}: data_list entry {number} lacks img_path or instances[0].text ({error})") from None
        rows.append(strings(row, f"{path}: data_list entry {number}"))
    return rows


def row_of_entry(path: Path, number: int, entry: Any) -> Row:
    """A row of a list of objects, as Label Studio and others write it."""
    row = row_of_object(entry)
    if row is None:
        raise DataError(
            f"{path}: entry {number} has no image and text: their keys are {', '.join(PATH_COLUMNS[:4])}, ... and "
            f"{', '.join(TEXT_COLUMNS[:4])}, ..."
        )
    return strings(row, f"{path}: entry {number}")


def strings(row: tuple[Any, ...], where: str) -> Row:
    if not all(isinstance(value, str) for value in row):
        raise DataError(f"{where}: a path and a label must be strings, not {str(row)[:200]}")
    if HALVES.search("".join(row)):
        raise DataError(f"{where}: half of a surrogate pair, which is no text: {row}")
    return row


def files_below(folder: Path) -> list[str]:
    """Paths of all files below a folder, sorted; what is hidden, as a Mac's ._files in archives, is no sample."""
    found = []
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not is_hidden(name)]
        found += [os.path.relpath(f"{place}/{name}", folder) for name in files if not is_hidden(name)]
    return sorted(found)


def is_hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


def named_rows(paths: list[str], asked: bool) -> list[Row]:
    """Images called `label_123.jpg`. Raises DataError where names may not be meant so and nobody asked for it."""
    rows = [(path, label_of(path)) for path in paths]
    if asked:
        return rows
    if odd := [path for path in paths if not NUMBERED.fullmatch(Path(path).name)]:
        raise DataError(f"{odd[0]!r} is not called as label_123.jpg is")
    labels = {label for _, label in rows}
    if len(rows) > 1 and len(labels) == 1:
        raise DataError(f"every label would be {labels.pop()!r}")
    if all(label.isdigit() for label in labels):
        raise DataError(f"{paths[0]!r} may begin with its label or with its number")
    return rows


def label_of(path: str) -> str:
    """From the name of a file, which need not be text."""
    return re.sub(r"_\d+$", "", HALVES.sub("\ufffd", Path(path).stem))
