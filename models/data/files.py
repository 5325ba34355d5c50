"""Files of a data set, which may come from strangers: what is read of them, and the errors that say what is wrong."""

from __future__ import annotations

import mmap
import os
import stat
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from bench.errors import UserError


class DataError(UserError):
    """Data that cannot be used: one line that says what is wrong, where, and what to do."""


class UnreadableError(DataError):
    """One image that cannot be read. It is skipped and counted; the rest of the data set is used."""


BLOCK = 1 << 24  # bytes of a text file looked at together
LARGEST = 1 << 24  # bytes of an encoded image: 4 for each of the MAX_PIXELS of models/data/image.py
LONGEST = 10_000  # bytes of a label, and of the line of a list that has one
FOLLOW_LINKS = "CRNN_FOLLOW_LINKS"  # an environment variable: links of a data set may lead out of it


def read_inside(folder: Path, path: str, where: str) -> bytes:
    """A file below `folder`. A path or a link that leads out of it is refused: data sets come from strangers.

    `folder` itself, and all above it, may be links.
    """
    if path.startswith("/") or "\0" in path or ".." in path.split("/"):
        raise UnreadableError(f"{where}: {path!r} leads out of the data set")
    whole = f"{folder}/{path}"  # no Path: making one costs as much as reading the image
    linked = os.path.islink(whole)  # noqa: PTH114
    if not stays_inside(str(folder), whole.rpartition("/")[0]) or (linked and not stays_inside(str(folder), whole)):
        raise UnreadableError(f"{where}: {path!r}: a link leads out of the data set; {FOLLOW_LINKS}=1 allows that")
    try:
        with open(whole, "rb", buffering=0, opener=open_nonblocking) as file:
            content = file.read() if is_readable(os.fstat(file.fileno())) else b""
    except (OSError, UnicodeEncodeError) as error:
        raise UnreadableError(f"{where}: {path!r}: {getattr(error, 'strerror', None) or error}") from None
    if not content:
        raise UnreadableError(f"{where}: {path!r}: zero bytes, more than {LARGEST:,}, or no plain file")
    return content


@lru_cache(1 << 16)
def stays_inside(folder: str, path: str) -> bool:
    """Whether a path, links resolved, is inside the folder, or links out of it are allowed."""
    root = os.path.realpath(folder)
    return bool(os.environ.get(FOLLOW_LINKS)) or os.path.commonpath([root, os.path.realpath(path)]) == root


def open_nonblocking(path: str, flags: int) -> int:
    """An opener that does not block on a FIFO in a data set, which has no writer."""
    return os.open(path, flags | os.O_NONBLOCK)


def is_readable(status: os.stat_result) -> bool:
    return stat.S_ISREG(status.st_mode) and status.st_size <= LARGEST


class Lines:
    """The lines of a text file by number, without holding them: a memory map and where each line starts.

    Nine million annotation lines cost 36 MB instead of about 1 GB of Python strings. Empty lines are not counted.
    """

    def __init__(self, path: Path):
        self.path = Path(path)
        self._opened: tuple[int, mmap.mmap | bytes] | None = None
        self.size = self.path.stat().st_size
        kind = np.uint32 if self.size < 2**32 else np.uint64
        starts, begin, before = [np.empty(0, kind)], 0, b"\n"
        with self.path.open("rb") as file:  # read, not mapped: mapped pages would count as the process's memory
            while block := file.read(BLOCK):
                starts.append((line_starts(before + block) + begin).astype(kind))
                begin, before = begin + len(block), block[-1:]
        self.starts = np.concatenate(starts)

    def _text(self) -> mmap.mmap | bytes:
        """The file's bytes, mapped once in each process."""
        if self._opened is None or self._opened[0] != os.getpid():
            with self.path.open("rb") as file:
                empty = os.fstat(file.fileno()).st_size == 0
                self._opened = (os.getpid(), b"" if empty else mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        return self._opened[1]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_opened": None}

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, index: int) -> bytes:
        end = int(self.starts[index + 1]) if index + 1 < len(self.starts) else self.size
        return self._text()[int(self.starts[index]) : end].rstrip(b"\r\n")

    def __iter__(self) -> Iterator[bytes]:
        return map(self.__getitem__, range(len(self)))


def line_starts(block: bytes) -> np.ndarray:
    """Where lines that are not empty start in a block, counted from its second byte; the first ends the one before."""
    codes = np.frombuffer(block, np.uint8)
    ends_a_line = (codes == ord("\n")) | (codes == ord("\r"))
    return np.flatnonzero(ends_a_line[:-1] & ~ends_a_line[1:])
