"""LMDB as the field has it: `num-samples`, `image-%09d` (encoded bytes), `label-%09d` (UTF-8), counted from 1."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias
from weakref import WeakSet, WeakValueDictionary

import lmdb

from models.data.files import LONGEST, DataError, UnreadableError, read_document, refuse_outside
from models.data.source import Source
from models.data.text import clean_label, split_lexicon

Get: TypeAlias = "Callable[..., memoryview | None]"
PROGRESS = b"prepare-progress"  # JSON, in an LMDB that `prepare` writes or wrote
DIGITS = 9  # of a sample's number in its keys
DESCRIPTION = "dataset.json"  # beside the splits: what `prepare` knows and an LMDB cannot say


def is_store(folder: Path) -> bool:
    return (folder / "data.mdb").is_file()


_files: dict[str, tuple[int, int]] = {}  # by folder: a descriptor of its data.mdb, and the bytes of it when whole
_environments: WeakValueDictionary[str, lmdb.Environment] = WeakValueDictionary()
_stores: WeakSet[Store] = WeakSet()  # those that hold a transaction of this process


def shared_environment(folder: str) -> lmdb.Environment:
    """This process's one environment of a folder: LMDB must not be opened twice in a process."""
    environment = _environments.get(folder)
    if environment is None:
        try:
            # readahead off: a shuffled epoch would read pages nobody asked for. lock off: readers never write.
            environment = lmdb.open(folder, readonly=True, lock=False, readahead=False, meminit=False)
        except lmdb.Error as error:
            raise DataError(f"{folder}: not a readable LMDB: {error}") from None
        forget(folder)
        descriptor = os.open(Path(folder, "data.mdb"), os.O_RDONLY)
        _files[folder] = descriptor, (environment.info()["last_pgno"] + 1) * environment.stat()["psize"]
        _environments[folder] = environment
    refuse_cut(folder)
    return environment


def forget(folder: str) -> None:
    if folder in _files:
        os.close(_files.pop(folder)[0])


def refuse_cut(folder: str) -> None:
    """A page that the tree has and the file lacks kills the process (SIGBUS) when it is touched: compare sizes.

    Asked before every read (1 us), because a file may be cut while it is open.
    """
    descriptor, needed = _files[folder]
    there = os.fstat(descriptor).st_size
    if there < needed:
        raise DataError(f"{folder}: data.mdb is cut short: {there:,} bytes where {needed:,} are needed; copy it again")


def close_before_fork() -> None:
    """LMDB must not be used across a fork: both sides open it again at their next read.

    What another thread is reading at that moment goes away under it: read in the thread that forks, or in workers.
    """
    for store in list(_stores):
        store.close()
    for environment in list(_environments.values()):
        environment.close()
    _environments.clear()
    for folder in list(_files):
        forget(folder)


os.register_at_fork(before=close_before_fork)


class Store(Source):
    """One LMDB folder to read, opened at first use in each process."""

    def __init__(self, folder: Path):
        self.folder = Path(folder)
        self._transaction: lmdb.Transaction | None = None
        self._get: Get | None = None
        about = description(self.folder)
        self.name, self.is_sample = str(about.get("name", self.folder.name)), bool(about.get("sample", False))
        self.count = self._count()

    def _open(self) -> tuple[lmdb.Transaction, Get]:
        """Open in this process; gives the transaction, and its function that gets a value without copying it."""
        self._place = str(self.folder.resolve())
        self._transaction = shared_environment(self._place).begin(buffers=True)
        self._get = self._transaction.get
        _stores.add(self)
        return self._transaction, self._get

    def _value(self, key: bytes) -> memoryview | None:
        """The value of a key, not copied. Raises DataError when the file was cut short or altered under the run."""
        get = self._get or self._open()[1]
        refuse_cut(self._place)
        try:
            return get(key)
        except lmdb.Error as error:
            raise self._damaged(error) from None

    @contextmanager
    def _walk(self) -> Iterator[lmdb.Cursor]:
        """A cursor over the keys. Raises DataError when the file is damaged."""
        transaction, _ = self._open()
        try:
            with transaction.cursor() as cursor:
                yield cursor
        except lmdb.Error as error:
            raise self._damaged(error) from None

    def _damaged(self, error: lmdb.Error) -> DataError:
        self.close()  # this transaction answers nothing any more; what is intact is read with the next one
        return DataError(f"{self.folder}: data.mdb is damaged ({error}); copy it again")

    def close(self) -> None:
        self._transaction = self._get = None

    def _count(self) -> int:
        """`num-samples`, checked against the number of keys and the last sample."""
        transaction, get = self._open()[0], self._value
        progress = get(PROGRESS)
        if progress is not None and not is_finished(bytes(progress)):
            raise DataError(f"{self.folder}: unfinished; run the `python -m models.prepare` that began it again")
        said = bytes(get(b"num-samples") or b"")
        if not said.isdigit() or len(said) > DIGITS:
            raise DataError(f"{self.folder}: no num-samples key; not a text recognition LMDB")
        count = int(said)
        for key in (b"image-%09d", b"label-%09d") if count else ():
            if get(key % count) is None:
                raise DataError(f"{self.folder}: num-samples says {count:,} but {(key % count).decode()} is missing")
        if get(b"image-%09d" % (count + 1)) is not None:
            raise DataError(f"{self.folder}: num-samples says {count:,} but there are more images than that")
        if 2 * count > (entries := transaction.stat()["entries"]):
            raise DataError(f"{self.folder}: num-samples says {count:,} but there are {entries:,} keys in all")
        if not count:
            raise DataError(f"{self.folder}: no samples in it")
        return count

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_transaction": None, "_get": None}

    def __len__(self) -> int:
        return self.count

    def encoded(self, index: int) -> memoryview:
        content = self._value(b"image-%09d" % (index + 1))
        if not content:
            raise UnreadableError(f"{self.where(index)}: {'missing' if content is None else 'zero bytes'}")
        return content

    def label(self, index: int) -> str:
        content = self._value(b"label-%09d" % (index + 1))
        if content is None:
            raise DataError(f"{self.folder}: label-{index + 1:09d} is missing")
        if len(content) > LONGEST:
            raise DataError(f"{self.folder}: label-{index + 1:09d} has {len(content):,} bytes, more than {LONGEST:,}")
        try:
            return clean_label(str(content, "utf-8"))
        except UnicodeDecodeError as error:
            raise DataError(f"{self.folder}: label-{index + 1:09d} is not UTF-8: {error}") from None

    def lexicon(self, index: int, column: str) -> list[str]:
        key = f"{column}-{index + 1:0{DIGITS}d}"
        content = self._value(key.encode())
        if content is None:
            raise DataError(f"{self.folder}: {key} is missing")
        try:
            return split_lexicon(str(content, "utf-8"))
        except UnicodeDecodeError as error:
            raise DataError(f"{self.folder}: {key} is not UTF-8: {error}") from None

    def where(self, index: int) -> str:
        return f"{self.folder}: image-{index + 1:09d}"

    def texts(self, begin: int, end: int) -> list[str]:
        """Labels of samples begin to end, read in the order of their keys. Raises DataError when one is missing."""
        keys = [b"label-%09d" % number for number in range(begin + 1, end + 1)]
        with self._walk() as cursor:
            cursor.set_key(b"label-%09d" % (begin + 1))
            stored = zip(keys, cursor.iternext(), strict=False)  # no list of it: memoryviews that stay cost four times
            try:
                texts = [
                    clean_label(str(text, "utf-8"))
                    for key, (name, text) in stored
                    if name == key and len(text) <= LONGEST
                ]
            except UnicodeDecodeError as error:
                raise DataError(f"{self.folder}: a label after {begin + 1:,} is not UTF-8: {error}") from None
        if len(texts) < len(keys):
            raise DataError(f"{self.folder}: a label after {begin + 1:,} is missing or longer than {LONGEST:,} bytes")
        return texts

    def content_digest(self) -> str:
        """What `prepare` noted of all its samples (see sum_digest); empty for another tool's."""
        try:
            return str(json.loads(bytes(self._value(PROGRESS) or b"{}")).get("digest", ""))
        except (ValueError, AttributeError, RecursionError):
            return ""

    def manifest(self) -> str:
        """sha256 over the count and the labels in order."""
        digest = hashlib.sha256(b"%d\n" % self.count)
        with self._walk() as cursor:
            if cursor.set_range(b"label-"):
                for key, value in cursor:
                    if bytes(key[:6]) != b"label-":
                        break
                    digest.update(value)
                    digest.update(b"\n")
        return digest.hexdigest()


def is_finished(progress: bytes) -> bool:
    """What `prepare` noted in its LMDB. What it cannot have written counts as unfinished."""
    try:
        return json.loads(progress)["finished"] is True
    except (ValueError, LookupError, TypeError, RecursionError):
        return False


def description(folder: Path) -> dict[str, Any]:
    """What `prepare` wrote about the data set, in the LMDB's folder or the one above; empty for another tool's."""
    for place in (folder, folder.parent):
        if (place / DESCRIPTION).is_file():
            try:
                about = json.loads(read_document(refuse_outside(place, place / DESCRIPTION)))
            except (ValueError, RecursionError) as error:
                raise DataError(f"{place / DESCRIPTION}: not JSON: {error}") from None
            return about if isinstance(about, dict) else {}
    return {}
