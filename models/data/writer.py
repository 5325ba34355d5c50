"""Writing an LMDB that survives being killed: every commit holds whole samples and how far the source was read."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import lmdb

from bench.files import format_bytes, lock_file
from models.data.digest import sample_digest, sum_digest
from models.data.files import DataError
from models.data.store import PROGRESS

FIRST_MAP = 1 << 26  # bytes; doubled when full, so that a full disk is never promised and a small set stays small
PAGE = 4096


@dataclass
class WriterProgress:
    """Where a writer is: samples of the source consumed, written and skipped, and which source that was.

    What a continued one trusts: files may have grown beyond it.
    """

    source: str
    consumed: int = 0
    written: int = 0
    skipped: int = 0
    text_bytes: int = 0  # of packed rows
    digest: str = ""  # of what was written, see sum_digest
    finished: bool = False


def goes_on(folder: Path, progress: WriterProgress, source: str, overwrite: bool) -> bool:
    """Whether a folder holds what is to be written; False: it may be written anew. Raises DataError when it may not."""
    if progress.source == source:
        return True
    if overwrite or not progress.written:
        return False
    raise DataError(
        f"{folder}: holds {progress.written:,} samples of another source, or of another state of this one (labels or "
        "images have changed since); --overwrite writes it anew, another --out leaves it"
    )


LOCK = "writing.lock"  # in a folder that is being written


def claim_folder(folder: Path) -> int | None:
    """Make a folder and keep it to this process, whose descriptor of the lock is given. Raises DataError."""
    folder.mkdir(parents=True, exist_ok=True)
    try:
        return lock_file(folder / LOCK)
    except BlockingIOError:
        raise DataError(f"{folder}: another process writes there; wait for it, or choose another --out") from None


def release_folder(folder: Path, lock: int | None, finished: bool) -> None:
    if finished:
        (folder / LOCK).unlink(missing_ok=True)
    if lock is not None:
        os.close(lock)


class LMDBWriter:
    """An LMDB being written in commits of whole chunks. Opening an unfinished one of the same source continues it.

    One of another source is refused, or written anew with `overwrite` and where it holds no sample yet.
    """

    def __init__(self, folder: Path, source: str, overwrite: bool = False):
        self.lock = claim_folder(folder)
        self.folder = folder
        self.environment = self._open()
        self.progress = self._progress(source)
        if not goes_on(folder, self.progress, source, overwrite):
            self.environment.close()
            for name in ("data.mdb", "lock.mdb"):
                (folder / name).unlink(missing_ok=True)
            self.environment, self.progress = self._open(), WriterProgress(source)

    def _open(self) -> lmdb.Environment:
        # No fsync per commit: a killed process loses nothing by it (the pages are the kernel's), only a power cut does.
        return lmdb.open(str(self.folder), map_size=FIRST_MAP, sync=False, metasync=False, meminit=False)

    def _progress(self, source: str) -> WriterProgress:
        with self.environment.begin() as reading:
            stored, count = reading.get(PROGRESS), reading.get(b"num-samples")
        if stored is None and count is not None:
            raise DataError(f"{self.folder}: holds a data set that another tool wrote; choose another --out")
        return WriterProgress(**json.loads(stored)) if stored else WriterProgress(source)

    def add(self, consumed: int, samples: Iterable[tuple[bytes, str]], skipped: Iterable[str]) -> None:
        """Commit one chunk of the source: `consumed` samples of which some were skipped, for the reasons given."""
        samples, skipped = list(samples), list(skipped)
        while True:
            try:
                return self._commit(consumed, samples, skipped)
            except lmdb.MapFullError:
                self.environment.set_mapsize(self.environment.info()["map_size"] * 2)

    def _commit(self, consumed: int, samples: list[tuple[bytes, str]], skipped: list[str]) -> None:
        now = WriterProgress(**asdict(self.progress))
        with self.environment.begin(write=True) as writing:
            for number, (image, _) in enumerate(samples, now.written + 1):
                writing.put(b"image-%09d" % number, image)
            for number, (_, text) in enumerate(samples, now.written + 1):
                writing.put(b"label-%09d" % number, text.encode())
            for number, reason in enumerate(skipped, now.skipped + 1):
                writing.put(b"skipped-%09d" % number, reason.encode("utf-8", "replace"))
            now.consumed += consumed
            now.written += len(samples)
            now.skipped += len(skipped)
            first = now.written - len(samples)
            digests = (sample_digest(first + i, image, text.encode()) for i, (image, text) in enumerate(samples))
            now.digest = sum_digest(now.digest, digests)
            writing.put(PROGRESS, json.dumps(asdict(now)).encode())
        self.progress = now

    def finish(self) -> None:
        """Make it a complete data set: readers refuse an LMDB that says it is not finished."""
        self.progress.finished = True
        with self.environment.begin(write=True) as writing:
            writing.put(b"num-samples", b"%d" % self.progress.written)
            writing.put(PROGRESS, json.dumps(asdict(self.progress)).encode())
        self.environment.sync(True)

    def close(self) -> None:
        self.environment.close()
        release_folder(self.folder, self.lock, self.progress.finished)


def stored_bytes(size: int) -> int:
    """About what LMDB takes for a value: small ones share a page two thirds full, larger ones get whole pages."""
    return size * 3 // 2 + 64 if size <= PAGE // 2 else -(-(size + 16) // PAGE) * PAGE


def check_space(folder: Path, needed: int) -> None:
    """Refuse to start what the disk cannot hold. `folder` need not exist yet."""
    place = next(p for p in [folder, *folder.resolve().parents] if p.exists())
    free = shutil.disk_usage(place).free
    if needed > free:
        raise DataError(
            f"{place}: about {format_bytes(needed)} are needed and {format_bytes(free)} are free; choose another --out"
        )
