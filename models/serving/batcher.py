"""Dynamic batching: whatever waits when a batch is done is read as the next one.

No clock holds images back until more have come: while a batch is computed others arrive by themselves, so batches
grow with the load, and a lone image goes at once (continuous batching; benchmarks/serving.py compares).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")
U = TypeVar("U")


class Busy(Exception):
    """More waits than may wait."""


@dataclass
class Batcher(Generic[T, U]):
    """`read` gets a list of at most `size` items, in a thread of its own, and gives an answer for each, in order."""

    read: Callable[[list[T]], Sequence[U]]
    size: int
    most: int  # items that may wait or be read
    observed: Callable[[int], object] = lambda size: None  # is told the size of every batch
    waiting: int = 0
    queue: asyncio.Queue[tuple[T, asyncio.Future[U]]] = field(default_factory=asyncio.Queue)
    thread: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "batches"))

    async def __call__(self, items: Sequence[T]) -> list[U]:
        """The answers, in the items' order. Busy when there is no room for all of them; what `read` raised, else."""
        if self.waiting + len(items) > self.most:
            raise Busy
        loop = asyncio.get_running_loop()
        answers: list[asyncio.Future[U]] = [loop.create_future() for _ in items]
        self.waiting += len(items)
        for item, one in zip(items, answers, strict=True):
            one.add_done_callback(self.left)
            self.queue.put_nowait((item, one))
        return await asyncio.gather(*answers)

    def left(self, answer: asyncio.Future[U]) -> None:
        self.waiting -= 1

    async def run(self) -> None:
        """Read batches until cancelled."""
        while True:
            batch = [await self.queue.get()]
            while len(batch) < self.size and not self.queue.empty():
                batch.append(self.queue.get_nowait())
            # A request that is over, cut off or out of time, has cancelled its answers.
            batch = [(item, answer) for item, answer in batch if not answer.done()]
            if batch:
                await self.answer(batch)

    async def answer(self, batch: list[tuple[T, asyncio.Future[U]]]) -> None:
        self.observed(len(batch))
        job = asyncio.get_running_loop().run_in_executor(self.thread, self.read, [item for item, _ in batch])
        await asyncio.wait([job])
        if failure := job.exception():
            for _, answer in batch:
                if not answer.done():
                    answer.set_exception(failure)
            return
        for (_, answer), result in zip(batch, job.result(), strict=True):
            if not answer.done():
                answer.set_result(result)
