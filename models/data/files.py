"""Files of a data set, which may come from strangers: what is read of them, and the errors that say what is wrong."""

from __future__ import annotations

import io
import mmap
import os
import re
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


BLOCK = 1 << 21  # bytes of a text file looked at together
PIECE = 1 << 16  # bytes of which it is noted how many lines end in them
LARGEST = 1 << 24  # bytes of an encoded image: 4 for each of the MAX_PIXELS of models/data/image.py
LONGEST = 10_000  # bytes of a label, and of the line of a list that has one
ANY_BREAK = re.compile(b"[\r\n]")
FOLLOW_LINKS = "CRNN_FOLLOW_LINKS"  # an environment variable: links of a data set may lead out of it


def read_inside(folder: Path, path: str, root: Path | None = None) -> bytes:
    """A file below `root` (default: `folder`, from which the path starts). Raises UnreadableError with the reason.

    A path or a link that leads out of the root is refused: data sets come from strangers. An absolute one may lead into
    it. `folder` and `root`, and all above them, may be links.
    """
    limit = str(root or folder)
    if "\0" in path or not (is_plain(path) or leads_inside(limit, f"{folder}/{path}" if path[0] != "/" else path)):
        raise UnreadableError(f"{path!r} leads out of the data set, {limit}; --image-root DIR says where images lie")
    whole = f"{folder}/{path}" if path[:1] != "/" else path  # no Path: making one costs as much as reading the image
    linked = os.path.islink(whole)  # noqa: PTH114
    if not stays_inside(limit, whole.rpartition("/")[0]) or (linked and not stays_inside(limit, whole)):
        raise UnreadableError(f"{path!r}: a link leads out of the data set; {FOLLOW_LINKS}=1 allows that")
    try:
        with open(whole, "rb", buffering=0, opener=open_nonblocking) as file:
            content = file.read() if is_readable(os.fstat(file.fileno())) else b""
    except (OSError, UnicodeEncodeError) as error:
        raise UnreadableError(f"{path!r}: {getattr(error, 'strerror', None) or error}") from None
    if not content:
        raise UnreadableError(f"{path!r}: zero bytes, more than {LARGEST:,}, or no plain file")
    return content


def is_plain(path: str) -> bool:
    """Whether a path leads down from where it starts."""
    return path[:1] != "/" and ".." not in path.split("/")


def leads_inside(root: str, path: str) -> bool:
    """Whether a path, links left as they are, is inside the root, as it is written or as it really lies."""
    whole, written = (os.path.abspath(place) for place in (path, root))  # noqa: PTH100
    return any(whole.startswith(place.rstrip("/") + "/") for place in (written, os.path.realpath(root)))


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

    Nine million annotation lines cost 36 MB instead of about 1 GB of Python strings. Empty lines are not counted, nor
    are lines of nothing but blanks. `content` stands for the file where that has to be decoded first.
    """

    def __init__(self, path: Path, content: bytes | None = None):
        self.path, self.content = Path(path), content
        self._opened: tuple[int, mmap.mmap | bytes] | None = None
        self._breaks: np.ndarray | None = None
        self.size = self.path.stat().st_size if content is None else len(content)
        kind = np.uint32 if self.size < 2**32 else np.uint64
        starts, begin, before = bytearray(), 0, b"\n"  # which grows in place
        blank, hashes = [], []
        for block in self.blocks():
            found = line_starts(block, before)
            first = np.frombuffer(block, np.uint8)[found]
            blank += (found[(first == ord(" ")) | (first == ord("\t"))] + begin).tolist()
            hashes += (found[first == ord("#")] + begin).tolist()
            starts += (found + begin).astype(kind).tobytes()
            begin, before = begin + len(block), block[-1:]
        self.starts = np.frombuffer(starts, kind)
        self._drop_blank(blank)
        self.hashes: list[int] = self._indices(hashes)  # numbers of lines that begin with a #

    def blocks(self) -> Iterator[bytes]:
        """The file in pieces; read, not mapped: mapped pages would count as the process's memory."""
        with self.path.open("rb") if self.content is None else io.BytesIO(self.content) as file:
            while block := file.read(BLOCK):
                yield block

    def _drop_blank(self, begins: list[int]) -> None:
        """Forget lines that begin with a blank and have nothing else."""
        if blank := [number for number in self._indices(begins) if not self[number].strip()]:
            self.starts = np.delete(self.starts, blank)

    def _indices(self, begins: list[int]) -> list[int]:
        """Numbers of the lines that start there; in their own type, lest all of them are converted."""
        found: list[int] = np.searchsorted(self.starts, np.array(begins, self.starts.dtype)).tolist()
        return found

    def _text(self) -> mmap.mmap | bytes:
        """The file's bytes, mapped once in each process."""
        if self._opened is None or self._opened[0] != os.getpid():
            self._opened = (os.getpid(), self.content if self.content is not None else self._mapped())
        return self._opened[1]

    def _mapped(self) -> mmap.mmap | bytes:
        with self.path.open("rb") as file:
            empty = os.fstat(file.fileno()).st_size == 0
            return b"" if empty else mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_opened": None, "_breaks": None}

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, index: int) -> bytes:
        begin, end = self._span(index)
        return without_end(self._text()[begin:end])

    def _span(self, index: int) -> tuple[int, int]:
        return int(self.starts[index]), int(self.starts[index + 1]) if index + 1 < len(self.starts) else self.size

    def peek(self, index: int) -> bytes:
        """A line, at most LONGEST of it, from the file and not from its map, whose pages would count as memory."""
        if self.content is not None:
            return self[index][:LONGEST]
        begin, end = self._span(index)
        with self.path.open("rb", buffering=0) as file:
            file.seek(begin)
            return without_end(file.read(min(end - begin, LONGEST)))

    def __iter__(self) -> Iterator[bytes]:
        return map(self.__getitem__, range(len(self)))

    def number(self, index: int) -> int:
        """Number of a line in the file, where an editor counts empty ones too, from 1. Read anew when first asked."""
        if self._breaks is None:
            text = self._text()
            pieces = (text[begin : begin + PIECE] for begin in range(0, self.size, PIECE))
            self._breaks = np.cumsum([(0, 0), *((one.count(b"\n"), one.count(b"\r")) for one in pieces)], axis=0)
        start = int(self.starts[index])
        near = self._text()[start - start % PIECE : start]
        return 1 + int((self._breaks[start // PIECE] + (near.count(b"\n"), near.count(b"\r"))).max())


def without_end(text: bytes) -> bytes:
    """A line without its end and without lines of blanks that follow it."""
    line = text.rstrip(b"\r\n")
    return ANY_BREAK.split(line, 1)[0] if ANY_BREAK.search(line) else line


def line_starts(block: bytes, before: bytes) -> np.ndarray:
    """Where lines that are not empty start in a block; `before` is the byte that comes before it."""
    codes = np.frombuffer(block, np.uint8)
    ends_a_line = codes == ord("\n")
    if b"\r" in block:
        ends_a_line |= codes == ord("\r")
    after = np.flatnonzero(ends_a_line) + 1
    after = after[: np.searchsorted(after, len(codes))]
    first = [0] if before in b"\r\n" and not ends_a_line[0] else []
    return np.concatenate([np.array(first, np.int64), after[~ends_a_line[after]]])
