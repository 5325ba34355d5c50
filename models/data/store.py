"""LMDB as the field has it: `num-samples`, `image-%09d` (encoded bytes), `label-%09d` (UTF-8), counted from 1."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from weakref import WeakValueDictionary

import lmdb

from models.data.source import DataError, UnreadableError

PROGRESS = b"prepare-progress"  # JSON, in an LMDB that `prepare` writes or wrote
DESCRIPTION = "dataset.json"  # beside the splits: what `prepare` knows and an LMDB cannot say


def is_store(folder: Path) -> bool:
    return (folder / "data.mdb").is_file()


_environments: WeakValueDictionary[tuple[int, Path], lmdb.Environment] = WeakValueDictionary()


def shared_environment(folder: Path) -> lmdb.Environment:
    """This process's one environment of a folder: LMDB must not be opened twice in a process, and not used after fork."""
    environment = _environments.get((os.getpid(), folder))
    if environment is None:
        try:
            # readahead off: a shuffled epoch would read pages nobody asked for. lock off: readers never write.
            environment = lmdb.open(str(folder), readonly=True, lock=False, readahead=False, meminit=False)
        except lmdb.Error as error:
            raise DataError(f"{folder}: not a readable LMDB: {error}") from None
        _environments[os.getpid(), folder] = environment
    return environment


class Store:
    """One LMDB folder to read, opened at first use in each process."""

    def __init__(self, folder: Path):
        self.folder = Path(folder)
        self._opened: tuple[int, lmdb.Environment, lmdb.Transaction] | None = None
        about = description(self.folder)
        self.name, self.is_sample = about.get("name", self.folder.name), about.get("sample", False)
        self.count = self._count()

    def _reading(self) -> lmdb.Transaction:
        if self._opened is None or self._opened[0] != os.getpid():
            environment = shared_environment(self.folder.resolve())
            self._opened = (os.getpid(), environment, environment.begin(buffers=True))
        return self._opened[2]

    def _count(self) -> int:
        """`num-samples`, checked against the number of keys and the last sample."""
        reading = self._reading()
        progress = reading.get(PROGRESS)
        if progress is not None and not json.loads(bytes(progress))["finished"]:
            raise DataError(f"{self.folder}: unfinished; run the `python -m models.prepare` that began it again")
        said = bytes(reading.get(b"num-samples", b""))
        if not said.isdigit():
            raise DataError(f"{self.folder}: no num-samples key; not a text recognition LMDB")
        count = int(said)
        for key in (b"image-%09d", b"label-%09d") if count else ():
            if reading.get(key % count) is None:
                raise DataError(f"{self.folder}: num-samples says {count:,} but {(key % count).decode()} is missing")
        if reading.get(b"image-%09d" % (count + 1)) is not None:
            raise DataError(f"{self.folder}: num-samples says {count:,} but there are more pictures than that")
        if not count:
            raise DataError(f"{self.folder}: no samples in it")
        return count

    def __getstate__(self):
        return {**self.__dict__, "_opened": None}

    def __len__(self) -> int:
        return self.count

    def encoded(self, index: int) -> memoryview:
        content = self._reading().get(b"image-%09d" % (index + 1))
        if not content:
            raise UnreadableError(f"{self.where(index)}: {'missing' if content is None else 'zero bytes'}")
        return content

    def label(self, index: int) -> str:
        content = self._reading().get(b"label-%09d" % (index + 1))
        if content is None:
            raise DataError(f"{self.folder}: label-{index + 1:09d} is missing")
        try:
            return str(content, "utf-8")
        except UnicodeDecodeError as error:
            raise DataError(f"{self.folder}: label-{index + 1:09d} is not UTF-8: {error}") from None

    def where(self, index: int) -> str:
        return f"{self.folder}: image-{index + 1:09d}"

    def manifest(self) -> str:
        """sha256 over the count and the labels in order."""
        digest = hashlib.sha256(b"%d\n" % self.count)
        with self._reading().cursor() as cursor:
            if cursor.set_range(b"label-"):
                for key, value in cursor:
                    if bytes(key[:6]) != b"label-":
                        break
                    digest.update(value)
                    digest.update(b"\n")
        return digest.hexdigest()


def description(folder: Path) -> dict:
    """What `prepare` wrote about the data set, in the LMDB's folder or the one above; empty when another tool wrote it."""
    for place in (folder, folder.parent):
        if (place / DESCRIPTION).is_file():
            try:
                about = json.loads((place / DESCRIPTION).read_text())
            except ValueError as error:
                raise DataError(f"{place / DESCRIPTION}: not JSON: {error}") from None
            return about if isinstance(about, dict) else {}
    return {}
