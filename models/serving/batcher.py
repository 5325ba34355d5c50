"""Dynamic batching: whatever waits when a batch is done is read as the next one.

No clock holds images back until more have come: while a batch is computed others arrive by themselves, so batches
grow with the load, and a lone image goes at once (continuous batching; benchmarks/serving.py compares). Clients take
turns, and a batch is as large as can be read in `BATCH_SECONDS`: so nobody waits long behind anybody's many images.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from models.serving.rotation import Rotation

T = TypeVar("T")
U = TypeVar("U")
BATCH_SECONDS = 0.25  # that a batch may take: who comes just after it began waits for it and has its own before 1 s


class Busy(Exception):
    """More waits than may wait."""


@dataclass
class Batcher(Generic[T, U]):
    """`read` gets a list of at most `size` items, in a thread of its own, and gives an answer for each, in order."""

    read: Callable[[list[T]], Sequence[U]]
    size: int
    most: int  # items that may wait or be read
    observed: Callable[[int], object] = lambda size: None  # is told the size of every batch
    patience: float = math.inf  # seconds after which nobody waits for an answer any more
    clock: Callable[[], float] = time.monotonic
    waiting: int = 0
    room: int = 8  # items of the next batch at most
    queue: Rotation[tuple[T, asyncio.Future[U]]] = field(default_factory=Rotation)
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    thread: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "batches"))
    item_seconds: float = 0.0  # that an item took of late
    moved: float = 0.0  # when the last batch was done, or began to be wanted

    def __post_init__(self) -> None:
        self.room = min(self.room, self.size)

    async def __call__(self, items: Sequence[T], client: Hashable = None) -> list[U]:
        """The answers, in the items' order; what `read` raised, else. Busy when there is no room for all of them, and
        when they would not be read in time: work that comes too late would keep others from theirs.
        """
        wanted = self.waiting + len(items)
        if wanted > self.most or (self.waiting and wanted * self.item_seconds > self.patience):
            raise Busy
        loop = asyncio.get_running_loop()
        answers: list[asyncio.Future[U]] = [loop.create_future() for _ in items]
        if not self.waiting:
            self.moved = self.clock()
        self.waiting += len(items)
        for one in answers:
            one.add_done_callback(self.left)
        self.queue.add(client, zip(items, answers, strict=True))
        self.arrived.set()
        return await asyncio.gather(*answers)

    def left(self, answer: asyncio.Future[U]) -> None:
        self.waiting -= 1

    @property
    def stalled_s(self) -> float:
        """Seconds for which something has waited and nothing was read."""
        return self.clock() - self.moved if self.waiting else 0.0

    async def run(self) -> None:
        """Read batches until cancelled."""
        while True:
            await self.arrived.wait()
            batch: list[tuple[T, asyncio.Future[U]]] = []
            while len(batch) < self.room and len(self.queue):
                item, answer = self.queue.take()
                if not answer.done():  # a request that is over, cut off or out of time, has cancelled its answers
                    batch.append((item, answer))
            if batch:
                began = self.clock()
                await self.answer(batch)
                self.moved = self.clock()
                self.adapt(len(batch), self.moved - began)
            else:
                self.arrived.clear()

    def adapt(self, size: int, seconds: float) -> None:
        """Room for what the next batch can read in time, by the speed of this one; it at most doubles."""
        self.item_seconds += (seconds / size - self.item_seconds) * (0.2 if self.item_seconds else 1)
        possible = int(BATCH_SECONDS * size / seconds) if seconds > 0 else self.size
        self.room = max(1, min(possible, 2 * self.room, self.size))

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
