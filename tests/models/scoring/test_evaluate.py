"""Batches in flight: on a GPU two at once, in order, and none forgotten at the end."""

import threading
from types import SimpleNamespace

import pytest

from bench.machine.discovery import DEVICES
from models.scoring.evaluate import InFlight, with_last


def device(kind):
    return SimpleNamespace(kind=DEVICES[kind], module=SimpleNamespace(set_device=lambda index: None), index=0)


def test_the_last_is_known_as_the_last():
    assert list(with_last("abc")) == [("a", False), ("b", False), ("c", True)]
    assert list(with_last("a")) == [("a", True)]
    assert list(with_last("")) == []


@pytest.mark.parametrize("kind", ["CPU", "GPU"])
def test_everything_comes_back_in_order(kind):
    with InFlight(str.upper, device(kind)) as flying:
        got = []
        for batch, is_last in with_last("abcde"):
            flying.submit(batch)
            got += flying.finished(everything=is_last)
    assert got == list(zip("abcde", "ABCDE", strict=True))


def test_a_card_has_the_next_batch_before_the_last_is_spelled():
    both_began = threading.Barrier(2, timeout=5)

    def recognise(batch):
        both_began.wait()  # broken, and the test with it, unless two are in hand at once
        return batch

    with InFlight(recognise, device("GPU")) as flying:
        flying.submit(1)
        assert list(flying.finished(everything=False)) == []
        flying.submit(2)
        assert list(flying.finished(everything=True)) == [(1, 1), (2, 2)]


def test_the_threads_of_a_run_are_the_same_in_every_pass_and_each_is_warm():
    """cuDNN keeps its plans by thread: new threads would choose kernels again inside the measured time."""
    card, saw = device("GPU"), []

    def recognise(batch):
        saw.append((threading.get_ident(), batch))
        return batch

    with InFlight(recognise, card) as flying:
        flying.warm(["full", "last"])
    warmed = {thread for thread, _ in saw}
    assert len(warmed) == 2 and sorted(batch for _, batch in saw) == ["full", "full", "last", "last"]
    for _ in range(3):
        with InFlight(recognise, card) as flying:
            flying.submit("full")
            list(flying.finished(everything=True))
    assert {thread for thread, _ in saw} == warmed


def test_a_compiled_network_stays_in_the_thread_that_compiled_it():
    with InFlight(lambda batch: threading.get_ident(), device("GPU"), "compile") as flying:
        flying.submit(1)
        assert list(flying.finished(everything=False)) == [(1, threading.get_ident())]


def test_a_failure_in_a_thread_is_raised():
    def fails(batch):
        raise OSError("the card is gone")

    with InFlight(fails, device("GPU")) as flying:
        flying.submit(1)
        with pytest.raises(OSError, match="the card is gone"):
            list(flying.finished(everything=True))
