"""What failures are called, and what people are told instead of a traceback."""

from __future__ import annotations

import pytest

from bench.errors import UserError
from models.data.files import DataError
from models.dataset import TooManyMissing
from models.run import failures
from models.run.signals import Interrupted
from models.training.optimizer import Diverged

KINDS = {
    "oom": [
        MemoryError(),
        RuntimeError("CUDA out of memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:117] err == 0: cannot allocate memory"),
        RuntimeError("could not create a primitive"),  # oneDNN
    ],
    "interrupted": [KeyboardInterrupt(), Interrupted(15)],
    "diverged": [Diverged("x")],
    "crash": [
        RuntimeError("could not create a primitive descriptor for a convolution"),
        RuntimeError("x"),
        TooManyMissing("x"),
        RuntimeError("DataLoader worker (pid(s) 7) exited unexpectedly"),
    ],
    None: [UserError("x"), DataError("x")],
}


@pytest.mark.parametrize("status", KINDS)
def test_the_status_of_a_failure(status):
    assert {failures.failure_status(failure) for failure in KINDS[status]} == {status}


@pytest.mark.parametrize(
    ("said", "status", "told"),
    [
        ("DataLoader worker (pid 77) is killed by signal: Killed. ", "oom", "worker 77 was killed .* memory runs out"),
        ("DataLoader worker (pid 77) is killed by signal: Bus error. It is", "crash", "worker 77 .* /dev/shm is full"),
        ("DataLoader worker (pid(s) 7, 8) exited unexpectedly", "crash", "worker 7, 8 exited unexpectedly"),
        ("DataLoader timed out after 300 seconds", "crash", "no batch came from the loader for 300 s"),
    ],
)
def test_a_lost_loader_process_is_named(said, status, told):
    failure = RuntimeError(said)
    assert failures.failure_status(failure) == status
    with pytest.raises(UserError, match=told):
        raise UserError(failures.failure_message(failure, 8, None, list))


def test_the_batch_that_fits_is_found_by_trying():
    tried = []

    def trial(batch: int) -> None:
        tried.append(batch)
        if batch > 20:
            raise RuntimeError("out of memory")

    assert failures.failure_message(MemoryError(), 128, trial, list).endswith(
        "--batch-size 16 fits, as a trial has just shown; with --accumulate 8 a step is still 128 images"
    )
    assert tried == [64, 32, 16]


def test_a_trial_that_fails_otherwise_is_not_taken_for_memory():
    def trial(batch: int) -> None:
        raise RuntimeError("another mistake")

    with pytest.raises(RuntimeError, match="another mistake"):
        failures.largest_fitting_batch(trial, 8, list)


def test_other_failures_keep_their_traceback():
    assert failures.failure_message(RuntimeError("x"), 8, None, list) is None
