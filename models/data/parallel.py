"""Going through a source in parallel: chunks in order, read by processes, never many ahead of who takes them."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import parent_process
from typing import Any, TypeVar

from models.data.files import DataError
from models.data.source import Source

CHUNK = 2048  # samples a task: 4 MB of MJSynth, so memory stays bounded
AHEAD = 2  # tasks a process, so that none waits

T = TypeVar("T")
Work = Callable[[Source, range], object]
_work: Work
_source: Source


def in_chunks(work: Callable[[Source, range], T], source: Source, workers: int, start: int = 0) -> Iterator[T]:
    """`work(source, numbers)` for every chunk of the source from `start` on, in order; 0 workers means all cores."""
    workers = workers or os.cpu_count() or 1
    tasks = (range(begin, min(begin + CHUNK, len(source))) for begin in range(start, len(source), CHUNK))
    with ProcessPoolExecutor(workers, initializer=begin_work, initargs=(work, source)) as pool:
        ahead: deque[Future[Any]] = deque()
        try:
            for task in tasks:
                ahead.append(pool.submit(do, task))
                if len(ahead) > AHEAD * workers:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        except BrokenProcessPool:
            raise DataError(f"{source.name}: a process that read it was killed; run it again to go on") from None
        finally:
            for future in ahead:
                future.cancel()


def begin_work(work: Work, source: Source) -> None:
    global _work, _source
    _work, _source = work, source
    threading.Thread(target=die_with_parent, daemon=True).start()


def die_with_parent() -> None:
    """A pool's processes would wait for ever for the tasks of a parent that was killed."""
    if parent := parent_process():
        parent.join()
    os._exit(1)


def do(task: range) -> object:
    return _work(_source, task)
