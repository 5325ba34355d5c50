import threading
import time

import pytest

from models.data.prefetch import Prefetcher


def test_the_same_items_in_the_same_order_and_again():
    ahead = Prefetcher(range(20))
    assert len(ahead) == 20
    assert list(ahead) == list(ahead) == list(range(20))


def test_items_are_made_before_they_are_asked_for_but_not_all():
    made = []
    items = iter(Prefetcher((made.append(i) or i for i in range(20)), depth=2))
    assert next(items) == 0
    deadline = time.monotonic() + 5
    while len(made) < 4 and time.monotonic() < deadline:  # one given, two waiting, one in the thread's hands
        time.sleep(0.01)
    time.sleep(0.05)
    assert made == [0, 1, 2, 3]
    items.close()


def test_a_failure_comes_where_its_item_would_have_come():
    def items():
        yield 1
        raise OSError("a disk is gone")

    got = iter(Prefetcher(items()))
    assert next(got) == 1
    with pytest.raises(OSError, match="a disk is gone"):
        next(got)


def test_leaving_early_ends_the_thread():
    items = iter(Prefetcher(range(10**9)))
    next(items)
    items.close()
    assert "batches ahead" not in [thread.name for thread in threading.enumerate()]
