"""What a source of word pictures is: numbered samples, each some encoded bytes and a text.

A source is any object with the four members of `Source`. Sources are picklable and open their files at first use, so
that a data loader's workers (fork or spawn) each get their own handles.
"""

from __future__ import annotations

import mmap
import os
import stat
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np

from bench.errors import UserError


class DataError(UserError):
    """Data that cannot be used: one line saying what was wrong, where, and what to do."""


class UnreadableError(DataError):
    """One picture that cannot be read. It is skipped and counted; the data set around it lives on."""


BLOCK = 1 << 24  # bytes of a text file looked at together
LARGEST = 1 << 24  # bytes of an encoded picture: 4 for each pixel that models/data/image.py decodes at most
LONGEST = 10_000  # bytes of a label, and of the line of a list that has one
FOLLOW_LINKS = "CRNN_FOLLOW_LINKS"  # an environment variable: links of a data set may lead out of it


class Source(Protocol):
    """Numbered samples. `encoded` raises UnreadableError, `label` DataError. `where` names a sample for a person."""

    name: str
    is_sample: bool  # rendered to stand in for the real data set; tables and records say so

    def __len__(self) -> int: ...

    def encoded(self, index: int) -> bytes: ...

    def label(self, index: int) -> str: ...

    def where(self, index: int) -> str: ...

    def manifest(self) -> str: ...  # sha256 over the list of samples and their labels


def read_inside(folder: Path, path: str, where: str) -> bytes:
    """A file below `folder`. A path or a link that leads out of it is refused: data sets come from strangers.

    `folder` itself, and all above it, may be links.
    """
    if path.startswith("/") or "\0" in path or ".." in path.split("/"):
        raise UnreadableError(f"{where}: {path!r} leads out of the data set")
    whole = f"{folder}/{path}"  # no Path: one a picture costs as much as reading it
    linked = os.path.islink(whole)  # noqa: PTH114
    if not stays(str(folder), whole.rpartition("/")[0]) or (linked and not stays(str(folder), whole)):
        raise UnreadableError(f"{where}: {path!r}: a link leads out of the data set; {FOLLOW_LINKS}=1 allows that")
    try:
        with open(whole, "rb", buffering=0, opener=at_once) as file:
            content = file.read() if fit_to_read(os.fstat(file.fileno())) else b""
    except (OSError, UnicodeEncodeError) as error:
        raise UnreadableError(f"{where}: {path!r}: {getattr(error, 'strerror', None) or error}") from None
    if not content:
        raise UnreadableError(f"{where}: {path!r}: zero bytes, more than {LARGEST:,}, or no plain file")
    return content


@lru_cache(1 << 16)
def stays(folder: str, place: str) -> bool:
    """Whether a place, its links followed, is in the folder, or may be elsewhere."""
    root = os.path.realpath(folder)
    return bool(os.environ.get(FOLLOW_LINKS)) or os.path.commonpath([root, os.path.realpath(place)]) == root


def at_once(path: str, flags: int) -> int:
    """Opens without waiting: a FIFO that somebody put into a data set would have no other end."""
    return os.open(path, flags | os.O_NONBLOCK)


def fit_to_read(about: os.stat_result) -> bool:
    return stat.S_ISREG(about.st_mode) and about.st_size <= LARGEST


class Lines:
    """The lines of a text file by number, without holding them: a memory map and where each line starts.

    Nine million annotation lines cost 36 MB instead of about 1 GB of Python strings. Empty lines are not counted.
    """

    def __init__(self, path: Path):
        self.path = Path(path)
        self._opened: tuple[int, mmap.mmap | bytes] | None = None
        self.size = self.path.stat().st_size
        kind = np.uint32 if self.size < 2**32 else np.uint64
        found, begin, before = [np.empty(0, kind)], 0, b"\n"
        with self.path.open("rb") as file:  # read, not mapped: a worker's memory would seem to hold the whole file
            while block := file.read(BLOCK):
                found.append((line_starts(before + block) + begin).astype(kind))
                begin, before = begin + len(block), block[-1:]
        self.starts = np.concatenate(found)

    def _text(self) -> mmap.mmap | bytes:
        """The file's bytes, mapped once in each process."""
        if self._opened is None or self._opened[0] != os.getpid():
            with self.path.open("rb") as file:
                empty = os.fstat(file.fileno()).st_size == 0
                self._opened = (os.getpid(), b"" if empty else mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        return self._opened[1]

    def __getstate__(self):
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
