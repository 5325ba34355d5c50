"""Turns: of what several clients wait for, each gets one in rotation, however much of it each asks for.

Among the requests of one client (all of a proxy are), the one that has got least goes first: a lone image does not wait
behind many, and many are read when nothing else waits (least attained service).
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Hashable, Iterable
from contextlib import asynccontextmanager
from heapq import heappop, heappush
from typing import Generic, TypeVar

T = TypeVar("T")


class Rotation(Generic[T]):
    """A queue whose clients take turns."""

    def __init__(self) -> None:
        # by client a heap of its requests: how much each has got, when it came, and what it still waits for
        self.clients: OrderedDict[Hashable, list[tuple[int, int, deque[T]]]] = OrderedDict()
        self.size = self.came = 0

    def __len__(self) -> int:
        return self.size

    def add(self, client: Hashable, items: Iterable[T]) -> None:
        """The items of one request."""
        request = deque(items)
        if request:
            self.came += 1
            heappush(self.clients.setdefault(client, []), (0, self.came, request))
            self.size += len(request)

    def take(self) -> T:
        """The next one. Raises IndexError where there is none."""
        if not self.size:
            raise IndexError("nothing waits")
        client, requests = self.clients.popitem(last=False)
        got, came, request = heappop(requests)
        item = request.popleft()
        self.size -= 1
        if request:
            heappush(requests, (got + 1, came, request))
        if requests:
            self.clients[client] = requests
        return item


class Turns:
    """A semaphore whose places are given to clients in rotation."""

    def __init__(self, places: int):
        self.free = places
        self.waiters: Rotation[asyncio.Future[None]] = Rotation()

    @asynccontextmanager
    async def place(self, client: Hashable) -> AsyncIterator[None]:
        if self.free:
            self.free -= 1
        else:
            await self.wait(client)
        try:
            yield
        finally:
            self.leave()

    async def wait(self, client: Hashable) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.waiters.add(client, [turn])
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():  # it was given the place in the same moment
                self.leave()
            raise

    def leave(self) -> None:
        while len(self.waiters):
            turn = self.waiters.take()
            if not turn.done():
                turn.set_result(None)
                return
        self.free += 1
