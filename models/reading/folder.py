"""Many images in, a table out: files and folders of images, read in batches, each with its text or why it has none."""

from __future__ import annotations

import csv
import io
import json
import re
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from PIL import Image
from tqdm import tqdm

from bench.errors import UserError, one_line, plain
from bench.files import warn
from models.data.documents import is_hidden
from models.data.image import UnreadableError
from models.reading.detection import LineDetector, PageLine, read_page
from models.reading.recogniser import Reading, Recogniser

T = TypeVar("T")
SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".pbm")
UNREAD = (".heic", ".heif", ".avif", ".jxl")  # images too, that are named as not read
TOGETHER = 128  # images that are decoded, then read: enough to fill batches of similar widths
LINE_EVERY_S = 15  # of progress in a log; a terminal has the bar
COLUMNS = ("file", "text", "confidence", "turned", "error")


@dataclass(frozen=True)
class FileReading:
    """What a file was read as, and the image as the network saw it; or why it was not."""

    path: Path
    reading: Reading | None = None
    image: np.ndarray | None = None  # uint8 (H, W, C)
    error: str = ""

    def row(self) -> dict[str, Any]:
        """Of a table: COLUMNS; an unread file has no text, which is not the text of an empty image."""
        if self.reading is None:
            return {"file": str(self.path), "text": None, "confidence": None, "turned": None, "error": self.error}
        read = self.reading
        return {
            "file": str(self.path), "text": read.text, "confidence": round(read.confidence, 4), "turned": read.turned,
            "error": None,
        }  # fmt: skip


@dataclass(frozen=True)
class FilePage:
    """The lines of a whole photo, and the upright photo; or why it was not read."""

    path: Path
    image: Image.Image | None = None
    lines: Sequence[PageLine] = ()
    error: str = ""

    def rows(self) -> list[dict[str, Any]]:
        """Of a table: a row a line, with its box in px, clockwise from where its text begins."""
        if self.image is None:
            return [{**FileReading(self.path, error=self.error).row(), "box": None}]
        return [
            {"file": str(self.path), "text": line.text, "confidence": round(line.confidence, 4), "turned": 0,
             "error": None, "box": " ".join(f"{number:.0f}" for number in line.box.ravel())}
            for line in self.lines
        ]  # fmt: skip


def find_images(places: Sequence[Path]) -> list[Path]:
    """Files as they are given; of each folder all images below it, hidden ones left out, in the order of a person.

    Says how many files of a folder are no images by their names. Raises UserError for a folder without any.
    """
    found: list[Path] = []
    for place in places:
        if not place.is_dir():
            found.append(place)
            continue
        files = [path for path in place.rglob("*") if path.is_file()]
        files = [path for path in files if not any(map(is_hidden, path.relative_to(place).parts))]
        images = [path for path in files if path.suffix.lower() in SUFFIXES + UNREAD]
        if not images:
            raise UserError(f"{place}: no images in it ({', '.join(SUFFIXES)}), of {len(files):,} files")
        if others := sorted(set(files) - set(images)):
            such = f"{others[0].name}{', ...' if len(others) > 1 else ''}"
            warn(one_line(f"{place}: passed over {len(others):,} that are no images by their names: {such}"))
        found += sorted(images, key=natural_order)
    return found


def natural_order(path: Path) -> list[tuple[int, str]]:
    """`page2.png` comes before `page10.png`."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", str(path)) if part]


def read_files(reader: Recogniser, files: Sequence[Path]) -> Iterator[FileReading]:
    """Each file in its order: read, or with the reason why it was not."""
    for begin in range(0, len(files), TOGETHER):
        prepared = [prepare_file(reader, path) for path in files[begin : begin + TOGETHER]]
        views = [one for one in prepared if not isinstance(one, FileReading)]
        readings = iter(reader.read_views([one for _, one in views]))
        for one in prepared:
            if isinstance(one, FileReading):
                yield one
                continue
            path, seen = one
            reading = next(readings)
            yield FileReading(path, reading, next(view.image for view in seen if view.turned == reading.turned))


def prepare_file(reader: Recogniser, path: Path) -> FileReading | tuple[Path, list]:
    try:
        return path, reader.prepare_views(path)
    except (UnreadableError, OSError) as error:
        return FileReading(path, error=unread_reason(error, path))


def unread_reason(error: Exception, path: Path) -> str:
    """Without the file's name, which is said before it."""
    reason = error.strerror if isinstance(error, OSError) else str(error).removeprefix(f"{path}: ")
    return reason or type(error).__name__


def pages_of(reader: Recogniser, detector: LineDetector, files: Sequence[Path]) -> Iterator[FilePage]:
    """Each file in its order: its lines, or the reason why it was not read."""
    for path in files:
        try:
            yield FilePage(path, *read_page(path, detector, reader))
        except (UnreadableError, OSError) as error:
            yield FilePage(path, error=unread_reason(error, path))


def with_progress(read: Iterable[T], total: int) -> Iterator[T]:
    """A bar on a terminal, a line now and then in a log; on stderr, as standard output is the texts'."""
    spoke, bar = time.monotonic(), tqdm(total=total, unit=" images", disable=None, leave=False)
    with bar:
        for number, one in enumerate(read, 1):
            bar.update()
            if bar.disable and time.monotonic() - spoke > LINE_EVERY_S:
                spoke = time.monotonic()
                print(f"  {number:,} of {total:,} images", file=sys.stderr, flush=True)
            yield one


def readings_csv(rows: Sequence[dict[str, Any]]) -> str:
    """COLUMNS with a heading, and of lines on pages their boxes; texts as they were read, quoted as CSV is."""
    written = io.StringIO()
    columns = [*COLUMNS, "box"] if any("box" in row for row in rows) else COLUMNS
    table = csv.DictWriter(written, columns, lineterminator="\n")
    table.writeheader()
    table.writerows({key: plain(value) if key == "file" else value for key, value in row.items()} for row in rows)
    return written.getvalue()


def readings_json(rows: Sequence[dict[str, Any]], reader: Recogniser) -> str:
    """The weights that read, and the rows of the table."""
    named = [{**row, "file": plain(row["file"])} for row in rows]
    return json.dumps({"weights": str(reader.source), "images": named}, ensure_ascii=False, indent=1) + "\n"
