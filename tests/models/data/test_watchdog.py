"""A loader's process that is stopped is ended, and the program goes on; one that is slow is waited for."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from models.data.watchdog import watch_workers
from models.run.failures import loader_failure


@pytest.fixture
def process():
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(100)"]) as found:
        yield found
        found.kill()


class Slow:
    """Gives a batch when it is told to."""

    def __init__(self):
        self.told = threading.Event()

    def __iter__(self):
        return self

    def __next__(self):
        self.told.wait(20)
        return 1


def test_a_stopped_process_is_ended(process):
    os.kill(process.pid, signal.SIGSTOP)
    began = time.monotonic()
    with watch_workers([Pid(process.pid)], 0.4) as waiting, pytest.raises(RuntimeError, match="timed out after 0"):
        waiting.next(iter(lambda: until_ended(process), None))
    assert process.returncode == -signal.SIGABRT
    assert 0.3 < time.monotonic() - began < 10


def until_ended(process) -> None:
    process.wait(20)
    raise EOFError


def test_another_failure_is_left_as_it_is():
    with watch_workers([], 0.4) as waiting, pytest.raises(EOFError):
        waiting.next(iter(lambda: until_ended(subprocess.Popen(["true"])), None))


def test_a_killed_process_is_named_with_its_signal_where_torch_has_not_heard_of_it():
    """SIGKILL means that memory has run out: "exited unexpectedly" would be another status."""
    killed = multiprocessing.get_context("spawn").Process(target=time.sleep, args=(100,))
    killed.start()
    os.kill(killed.pid, signal.SIGKILL)
    killed.join()
    for said in (f"DataLoader worker (pid(s) {killed.pid}) exited unexpectedly", "another"):
        with watch_workers([killed], 5) as waiting, pytest.raises(RuntimeError) as failure:
            waiting.next(iter(lambda said=said: refuse(said), None))
        assert (loader_failure(failure.value) or ("",))[0] == ("oom" if said != "another" else "")


def refuse(said: str) -> None:
    raise RuntimeError(said)


class Pid:
    def __init__(self, pid: int):
        self.pid = pid


def test_a_process_that_gives_something_in_time_lives(process):
    with watch_workers([Pid(process.pid)], 0.4) as waiting:
        for _ in range(3):
            slow = Slow()
            threading.Timer(0.2, slow.told.set).start()
            assert waiting.next(slow) == 1
        time.sleep(0.8)  # nobody waits for it now
    assert process.poll() is None
    assert waiting.next(iter(())) is None
