"""Batches made in a thread of their own while the ones before them are worked on."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from queue import Full, Queue
from typing import TypeVar

T = TypeVar("T")
DEPTH = 2  # batches: one being handed over, one to cover for a slow one
PATIENCE_S = 0.1  # how often a thread that cannot hand over looks whether anybody still wants it


class Prefetcher:
    """The same items in the same order, at most `depth` of them made before they are asked for.

    A failure in the thread is raised where its item would have come. Leaving an iteration early ends its thread.
    """

    def __init__(self, items: Iterable[T], depth: int = DEPTH):
        self.items, self.depth = items, depth

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[T]:
        ready: Queue = Queue(self.depth)
        unwanted = threading.Event()
        thread = threading.Thread(target=self.fill, args=(ready, unwanted), name="batches ahead", daemon=True)
        thread.start()
        try:
            while True:
                item, failure, ended = ready.get()
                if failure:
                    raise failure
                if ended:
                    return
                yield item
        finally:
            unwanted.set()
            thread.join()

    def fill(self, ready: Queue, unwanted: threading.Event) -> None:
        """Put (item, failure, whether that was all) until nobody wants more."""
        try:
            for item in self.items:
                if not offered(ready, (item, None, False), unwanted):
                    return
            offered(ready, (None, None, True), unwanted)
        except BaseException as failure:  # noqa: BLE001, raised again by who iterates
            offered(ready, (None, failure, True), unwanted)


def offered(ready: Queue, what: tuple, unwanted: threading.Event) -> bool:
    """Whether it was taken into the queue before nobody wanted it any more."""
    while not unwanted.is_set():
        try:
            ready.put(what, timeout=PATIENCE_S)
            return True
        except Full:
            continue
    return False
