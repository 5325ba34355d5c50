"""Batches made in a background thread while earlier ones are used."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from queue import Full, Queue
from typing import Generic, Protocol, TypeAlias, TypeVar, cast

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
Entry: TypeAlias = "tuple[T | None, BaseException | None, bool]"  # item, failure, whether it was the last
DEPTH = 2  # batches: one being handed over, one to cover for a slow one
POLL_S = 0.1  # how often a thread with a full queue looks whether the iteration has ended


class SizedIterable(Protocol[T_co]):
    """What may be iterated again and knows how many items that gives."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[T_co]: ...


class Prefetcher(Generic[T]):
    """The same items in the same order, up to `depth` of them made ahead.

    A failure in the thread is raised where its item would have come. Leaving an iteration early ends its thread.
    """

    def __init__(self, items: SizedIterable[T], depth: int = DEPTH):
        self.items, self.depth = items, depth

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[T]:
        ready: Queue[Entry[T]] = Queue(self.depth)
        stopped = threading.Event()
        thread = threading.Thread(target=self.fill, args=(ready, stopped), name="batches ahead", daemon=True)
        thread.start()
        try:
            while True:
                item, failure, ended = ready.get()
                if failure:
                    raise failure
                if ended:
                    return
                yield cast(T, item)  # None comes only with a failure or at the end
        finally:
            stopped.set()
            thread.join()

    def fill(self, ready: Queue[Entry[T]], stopped: threading.Event) -> None:
        """Put (item, failure, whether it was the last) until the items or the iteration end."""
        try:
            for item in self.items:
                if not put_until_stopped(ready, (item, None, False), stopped):
                    return
            put_until_stopped(ready, (None, None, True), stopped)
        except BaseException as failure:  # noqa: BLE001, raised again by who iterates
            put_until_stopped(ready, (None, failure, True), stopped)


def put_until_stopped(ready: Queue[Entry[T]], entry: Entry[T], stopped: threading.Event) -> bool:
    """Put an entry when there is room. False: the iteration ended first."""
    while not stopped.is_set():
        try:
            ready.put(entry, timeout=POLL_S)
            return True
        except Full:
            continue
    return False
