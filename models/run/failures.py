"""What a failure means: the status of its record, and the line that the user reads."""

from __future__ import annotations

import gc
import re
import traceback
from collections.abc import Callable

from bench.errors import UserError
from bench.machine.processes import OUT_OF_MEMORY
from models.run.signals import Interrupted

# torch's messages about loader processes, the status of such a failure, and what it means.
WORKER = r"DataLoader worker \(pid(?:\(s\))? ([\d, ]+)\) "
LOADER = (
    (
        WORKER + r"is killed by signal: Killed",
        "oom",
        "loader worker {0} was killed (SIGKILL); the kernel does that when memory runs out, and `dmesg` tells:"
        " fewer --workers, or a smaller --batch-size",
    ),
    (
        WORKER + r"is killed by signal: Bus error",
        "crash",
        "loader worker {0} died of a bus error: /dev/shm is full (docker: --shm-size=8g), or data.mdb was cut short",
    ),
    (WORKER + r"(is killed by signal: [\w ]+|exited unexpectedly)", "crash", "loader worker {0} {1}"),
    (
        r"DataLoader timed out after (\d+)",
        "crash",
        "no batch came from the loader for {0} s: is the disk of the data set there? CRNN_TIMEOUT_S sets the wait",
    ),
)


def loader_failure(failure: BaseException) -> tuple[str, str] | None:
    """(status, meaning) of a failure of a loader's process."""
    for pattern, status, meaning in LOADER:
        if found := re.search(pattern, str(failure)):
            return status, meaning.format(*found.groups())
    return None


def failure_status(failure: BaseException) -> str | None:
    """The status of a run that ended in this exception; None: a mistake of the user, which leaves no record."""
    if isinstance(failure, UserError):
        return failure.status
    if lost := loader_failure(failure):
        return lost[0]
    if is_out_of_memory(failure):
        return "oom"
    return "interrupted" if isinstance(failure, KeyboardInterrupt | Interrupted) else "crash"


def is_out_of_memory(failure: BaseException) -> bool:
    return isinstance(failure, MemoryError) or OUT_OF_MEMORY.search(str(failure)) is not None


def failure_message(
    failure: BaseException, batch: int, trial: Callable[[int], object] | None, free: Callable
) -> str | None:
    """One line for the user in place of a traceback; None: the traceback is the best there is."""
    if isinstance(failure, UserError):
        return None
    if lost := loader_failure(failure):
        return lost[1]
    if not is_out_of_memory(failure):
        return None
    traceback.clear_frames(failure.__traceback__)  # they hold what did not fit
    fits = trial and largest_fitting_batch(trial, batch, free)
    tried = f"--batch-size {fits} fits, as a trial has just shown" if fits else "not even a batch of 1 fits"
    if fits and batch % fits == 0:
        tried += f"; with --accumulate {batch // fits} a step is still {batch} images"
    return f"out of memory with --batch-size {batch}: " + (tried if trial else "try half of it")


def largest_fitting_batch(trial: Callable[[int], object], batch: int, free: Callable[[], object]) -> int:
    """The first of a half, a quarter, ... of a batch whose trial does not run out of memory; 0: none does."""
    while batch := batch // 2:
        gc.collect()
        free()
        try:
            trial(batch)
        except (RuntimeError, MemoryError) as failure:
            if not is_out_of_memory(failure):
                raise
            traceback.clear_frames(failure.__traceback__)
        else:
            break
    return batch
