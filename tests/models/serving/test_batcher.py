"""Dynamic batching: the right answer to each, in batches that grow with what waits, and room for no more than that."""

from __future__ import annotations

import asyncio
import math
import threading
from contextlib import asynccontextmanager

import pytest

pytest.importorskip("fastapi")
from models.serving.batcher import Batcher, Busy
from models.serving.rotation import Turns


@asynccontextmanager
async def running(read, size=4, most=100, clock=lambda: 0.0, patience=math.inf):
    sizes: list[int] = []
    batcher = Batcher(read, size, most, sizes.append, patience, clock)
    task = asyncio.create_task(batcher.run())
    try:
        yield batcher, sizes
    finally:
        task.cancel()


def doubled(items: list[int]) -> list[int]:
    return [2 * item for item in items]


def test_every_request_gets_its_own_answers_in_order():
    async def asked():
        async with running(doubled) as (batcher, sizes):
            found = await asyncio.gather(*(batcher([n, n + 1, n + 2]) for n in range(0, 30, 3)))
            assert found == [[2 * n, 2 * n + 2, 2 * n + 4] for n in range(0, 30, 3)]
            assert sum(sizes) == 30 and max(sizes) == 4 and batcher.waiting == 0

    asyncio.run(asked())


def test_what_comes_while_a_batch_is_read_is_the_next_one():
    go = threading.Event()

    def read(items):
        go.wait(5)
        return items

    async def asked():
        async with running(read) as (batcher, sizes):
            first = asyncio.create_task(batcher([0]))
            await asyncio.sleep(0.05)
            others = [asyncio.create_task(batcher([n])) for n in (1, 2, 3)]
            await asyncio.sleep(0.05)
            go.set()
            assert await asyncio.gather(first, *others) == [[0], [1], [2], [3]]
            assert sizes == [1, 3]

    asyncio.run(asked())


def test_more_than_may_wait_is_refused_and_the_rest_is_answered():
    async def asked():
        async with running(doubled, most=5) as (batcher, _):
            waiting = asyncio.create_task(batcher([1, 2, 3]))
            await asyncio.sleep(0)
            with pytest.raises(Busy):
                await batcher([4, 5, 6])
            assert await waiting == [2, 4, 6]
            assert await batcher([4, 5, 6, 7, 8]) == [8, 10, 12, 14, 16]

    asyncio.run(asked())


def test_a_batch_that_fails_fails_its_requests_alone():
    def read(items):
        if 13 in items:
            raise RuntimeError("thirteen")
        return items

    async def asked():
        async with running(read) as (batcher, _):
            with pytest.raises(RuntimeError, match="thirteen"):
                await batcher([13])
            assert await batcher([14]) == [14]
            assert batcher.waiting == 0

    asyncio.run(asked())


def test_a_request_that_is_over_is_not_read():
    seen = []

    async def asked():
        async with running(lambda items: seen.extend(items) or items) as (batcher, _):
            gone = asyncio.create_task(batcher([1, 2]))
            await asyncio.sleep(0)
            gone.cancel()
            assert await batcher([3]) == [3]
            assert seen == [3] and batcher.waiting == 0

    asyncio.run(asked())


def test_a_batch_is_as_large_as_can_be_read_in_time():
    """Reading takes 0.1 s an item: batches of 2 are what a quarter of a second allows; when it is quick they grow."""
    now = [0.0]

    def read(items):
        now[0] += 0.1 * len(items)
        return items

    async def asked():
        async with running(read, size=32, clock=lambda: now[0]) as (batcher, sizes):
            await batcher(list(range(20)))
            assert sizes == [8, 2, 2, 2, 2, 2, 2]
            batcher.adapt(2, 0.001)
            assert batcher.room == 4

    asyncio.run(asked())


def test_what_would_come_too_late_is_refused_at_once():
    """200 clients at 19 images a second all waited for 10 s, and were then told to come again."""
    now = [0.0]

    def read(items):
        now[0] += 0.1 * len(items)
        return items

    async def asked():
        async with running(read, size=8, clock=lambda: now[0], patience=2.0) as (batcher, _):
            await batcher(list(range(30)))  # nothing waits, however long it takes
            waiting = asyncio.create_task(batcher(list(range(15))))
            await asyncio.sleep(0)
            with pytest.raises(Busy):
                await batcher(list(range(6)))
            assert await batcher([1, 2]) == [1, 2]
            assert len(await waiting) == 15

    asyncio.run(asked())


def test_one_image_does_not_wait_behind_the_many_of_another():
    seen = []

    async def asked():
        async with running(lambda items: seen.extend(items) or items) as (batcher, _):
            many = asyncio.create_task(batcher([f"a{n}" for n in range(20)], "a"))
            again = asyncio.create_task(batcher([f"A{n}" for n in range(20)], "a"))
            one = asyncio.create_task(batcher(["b"], "b"))
            await asyncio.gather(many, again, one)

    asyncio.run(asked())
    assert seen.index("b") == 1
    assert [one[0] for one in seen if one != "b"][:6] == list("aAaAaA")


def test_it_is_told_that_nothing_moves():
    now, go = [0.0], threading.Event()

    async def asked():
        async with running(lambda items: go.wait(5) and items, clock=lambda: now[0]) as (batcher, _):
            now[0] = 100.0
            assert batcher.stalled_s == 0  # nothing is wanted
            waits = asyncio.create_task(batcher([1]))
            await asyncio.sleep(0.05)
            now[0] = 107.0
            assert batcher.stalled_s == 7
            go.set()
            await waits
            assert batcher.stalled_s == 0

    asyncio.run(asked())


def test_a_place_goes_to_another_client_first():
    order = []

    async def asked():
        turns = Turns(1)

        async def work(client):
            async with turns.place(client):
                order.append(client)
                await asyncio.sleep(0)

        tasks = [asyncio.create_task(work(client)) for client in ("a", "a", "a", "a", "b")]
        await asyncio.sleep(0)
        tasks[1].cancel()  # who gives up leaves its turn to others
        await asyncio.gather(*tasks, return_exceptions=True)
        assert turns.free == 1 and len(turns.waiters) == 0

    asyncio.run(asked())
    assert order == ["a", "a", "b", "a"] or order == ["a", "b", "a", "a"]
