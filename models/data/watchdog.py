"""A time limit for loader processes that hang.

torch's own time limit is for the queue of batches. A worker that is stopped after it has put one there is waited for
without end, at the socket over which it would hand over the images' memory; and so is one that is stopped when the
program ends, because it does not hear that it is to end.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.process import BaseProcess
from typing import TypeVar

T = TypeVar("T")
LOOKS = 20  # in the time that is waited; a program that was itself stopped for a while has looked no oftener


class WorkerWatchdog:
    """Ends all `workers` (processes) when `next` has waited for `seconds`. What they did then is on stderr."""

    def __init__(self, workers: Sequence[BaseProcess], seconds: float):
        self.workers, self.seconds = workers, seconds
        self.asked, self.answered, self.ended, self.over = 0, 0, False, threading.Event()

    def next(self, batches: Iterator[T]) -> T | None:
        """The next batch; None: there is none. Raises RuntimeError, as torch has it, when it did not come in time."""
        self.asked += 1
        try:
            batch = next(batches, None)
        except Exception as failure:
            if not self.ended:
                self.name_signal(failure)
                raise
            raise RuntimeError(f"DataLoader timed out after {self.seconds:g} seconds") from failure
        self.answered = self.asked
        return batch

    def name_signal(self, failure: Exception) -> None:
        """Raise what torch says of a killed worker where it has only noticed that one is gone, which is a race."""
        killed = [one for one in self.workers if one.exitcode and one.exitcode < 0]
        if "exited unexpectedly" in str(failure) and killed:
            said = f"{signal.strsignal(-(killed[0].exitcode or 0))}"
            raise RuntimeError(f"DataLoader worker (pid {killed[0].pid}) is killed by signal: {said}. ") from failure

    def look(self) -> None:
        looks, before = 0, 0
        while not self.over.wait(self.seconds / LOOKS):
            looks, before = (looks + 1 if self.asked == before > self.answered else 0), self.asked
            if looks >= LOOKS:
                self.end()
                break

    def end(self) -> None:
        self.ended = True
        for pid in [worker.pid for worker in self.workers if worker.pid]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGABRT)
                os.kill(pid, signal.SIGCONT)  # a stopped process dies only when it goes on


@contextmanager
def watch_workers(workers: Sequence[BaseProcess], seconds: float) -> Iterator[WorkerWatchdog]:
    waiting = WorkerWatchdog(workers, seconds)
    if workers:
        threading.Thread(target=waiting.look, name="worker watchdog", daemon=True).start()
    try:
        yield waiting
    finally:
        waiting.over.set()
