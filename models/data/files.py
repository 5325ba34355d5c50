"""Files of a data set, which may come from strangers: what is read of them, and the errors that say what is wrong."""

from __future__ import annotations

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
from bench.files import open_nonblocking, read_regular


class DataError(UserError):
    """Data that cannot be used: one line that says what is wrong, where, and what to do."""


class UnreadableError(DataError):
    """One image that cannot be read. It is skipped and counted; the rest of the data set is used."""


BLOCK = 1 << 21  # bytes of a text file looked at together
PIECE = 1 << 16  # bytes of which it is noted how many lines end in them
LARGEST_LIST = 1 << 33  # bytes of a list: 100 million lines, and no sparse file of a terabyte
LARGEST_DOCUMENT = 1 << 28  # bytes of a file that is read as a whole: JSON, an alphabet, words
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


def is_readable(status: os.stat_result) -> bool:
    return stat.S_ISREG(status.st_mode) and status.st_size <= LARGEST


def read_document(path: Path, most: int = LARGEST_DOCUMENT) -> bytes:
    """All of a file of a data set that is no image. Raises DataError."""
    try:
        return read_regular(path, most)
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from None
    except DataError:
        raise
    except UserError as error:
        raise DataError(str(error)) from None


def read_beginning(path: Path, size: int) -> bytes:
    """The first bytes of a regular file; none of any other. Raises OSError."""
    with open(path, "rb", buffering=0, opener=open_nonblocking) as file:
        return file.read(size) if stat.S_ISREG(os.fstat(file.fileno()).st_mode) else b""


def refuse_outside(folder: Path, path: Path) -> Path:
    """The path, of a list, an alphabet or the like that was found in a data set and not named by the user.

    Raises DataError for a link that leads out of it: its lines would become labels.
    """
    if not stays_inside(str(folder), str(path)):
        raise DataError(f"{path}: a link leads out of the data set; {FOLLOW_LINKS}=1 allows that")
    return path


class OpenFile:
    """A regular file of a data set that stays open and is mapped or read in parts, in one process."""

    def __init__(self, path: Path, most: int = LARGEST_LIST):
        """Raises DataError for what is no regular file of at most `most` bytes."""
        self.path, self.process = Path(path), os.getpid()
        try:
            self.file = open(path, "rb", buffering=0, opener=open_nonblocking)  # noqa: SIM115  (closed with this object)
        except OSError as error:
            raise DataError(f"{path}: {error.strerror}") from None
        status = os.fstat(self.file.fileno())
        if not stat.S_ISREG(status.st_mode) or status.st_size > most:
            raise DataError(f"{path}: not a regular file of at most {most:,} bytes")
        self.size = status.st_size

    @property
    def identity(self) -> tuple[int, int]:
        """Size and time of writing (ns)."""
        status = os.fstat(self.file.fileno())
        return status.st_size, status.st_mtime_ns

    def refuse_other_than(self, identity: tuple[int, int] | None) -> None:
        """What was mapped of a file that is now shorter kills the process (SIGBUS) when it is touched, and a list that
        was written anew has other labels. Asked before reads (1 us). Raises DataError.
        """
        if identity is not None and (now := self.identity) != identity:
            how = "cut short" if now[0] < identity[0] else "written anew"
            raise DataError(f"{self.path}: was {how} while it is in use; begin again with a whole one")

    def mapped(self) -> mmap.mmap | bytes:
        return mmap.mmap(self.file.fileno(), 0, access=mmap.ACCESS_READ) if self.size else b""


class Lines:
    """The lines of a text file by number, without holding them: a memory map and where each line starts.

    Nine million annotation lines cost 36 MB instead of about 1 GB of Python strings. Empty lines are not counted, nor
    are lines of nothing but blanks. `content` stands for the file where that has to be decoded first.
    """

    def __init__(self, path: Path, content: bytes | None = None):
        self.path, self.content = Path(path), content
        self._file: OpenFile | None = None
        self._identity: tuple[int, int] | None = None  # size and time of writing, when it was first opened
        self._map: mmap.mmap | bytes | None = content
        self._breaks: np.ndarray | None = None
        self.size = self._open().size if content is None else len(content)
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
        place = 0
        while block := self._block(place):
            yield block
            place += len(block)

    def _block(self, place: int) -> bytes:
        if self.content is not None:
            return self.content[place : place + BLOCK]
        return os.pread(self._open().file.fileno(), BLOCK, place)

    def _drop_blank(self, begins: list[int]) -> None:
        """Forget lines that begin with a blank and have nothing else."""
        if blank := [number for number in self._indices(begins) if not self[number].strip()]:
            self.starts = np.delete(self.starts, blank)

    def _indices(self, begins: list[int]) -> list[int]:
        """Numbers of the lines that start there; in their own type, lest all of them are converted."""
        found: list[int] = np.searchsorted(self.starts, np.array(begins, self.starts.dtype)).tolist()
        return found

    def _open(self) -> OpenFile:
        """The file, opened once in each process; the same that it was. Raises DataError when it has changed."""
        if self._file is None or self._file.process != os.getpid():
            self._file, self._map = OpenFile(self.path), self.content
            self._identity = self._identity or self._file.identity
        self._file.refuse_other_than(self._identity)
        return self._file

    def _text(self) -> mmap.mmap | bytes:
        """The file's bytes, mapped once in each process."""
        file = self._open()
        if self._map is None:
            self._map = file.mapped()
        return self._map

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_file": None, "_map": None, "_breaks": None}

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
        return without_end(os.pread(self._open().file.fileno(), min(end - begin, LONGEST), begin))

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
