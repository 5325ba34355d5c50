"""Memory that runs out, and loader processes that die or hang: `python -m tests.faults.memory`."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
from collections.abc import Callable
from datetime import timedelta

import psutil

from models import dataset, train
from models.train import Training
from tests.faults.runs import Place, ended, last_line, narrow, place, run_cases, start

ROOM = 250_000_000  # bytes of address space that a run may have beyond what importing torch takes


def limited(where: Place, batch: int) -> tuple[int, str]:
    """Train with little memory: the exit code and the last line."""

    def work() -> None:
        limit = psutil.Process().memory_info().vms + ROOM
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        train.main(where.words(**{"batch_size": batch, "steps": 1, "input": "synthetic", "data.width": 256}))

    return ended(start(work, where.log)), last_line(where.said())


def status(where: Place) -> str:
    paths = sorted((where.folder / "runs").glob("*.json"), key=lambda path: path.stat().st_mtime)
    return json.loads(paths[-1].read_text())["status"] if paths else "there is none"


def batch_too_large() -> tuple[bool, str]:
    """The batch that is named must then really run in the same memory."""
    with place() as where:
        code, said = limited(where, 1024)
        found = re.search(r"--batch-size (\d+) fits", said)
        if code != 2 or not found or status(where) != "oom":
            return False, f"exit code {code}: {said}"
        again, _ = limited(where, int(found[1]))
        return again == 0, f"record: oom; {said}; with it the run ends with code {again}"


def worker(number: int, telling: str, expected: str) -> Callable[[], tuple[bool, str]]:
    """A loader's process gets a signal at the third step."""

    def case() -> tuple[bool, str]:
        with place(100) as where:

            def work() -> None:
                dataset.TIMEOUT = timedelta(seconds=5)
                step = Training.train_step

                def stepped(self, batch):
                    if self.optimizer.step == 3:
                        os.kill(psutil.Process().children()[0].pid, number)
                    return step(self, batch)

                Training.train_step = stepped
                train.main(where.words(workers=1))

            code = ended(start(work, where.log), 90)
            said = last_line(where.said())
            return code == 2 and telling in said and status(where) == expected, f"record: {status(where)}; {said}"

    return case


CASES = {
    "batch too large for memory (RLIMIT_AS)": batch_too_large,
    "loader worker killed (SIGKILL)": worker(signal.SIGKILL, "was killed (SIGKILL)", "oom"),
    "loader worker: bus error": worker(signal.SIGBUS, "bus error", "crash"),
    "loader worker: segmentation fault": worker(signal.SIGSEGV, "killed by signal: Segmentation fault", "crash"),
    "loader worker stopped (SIGSTOP)": worker(signal.SIGSTOP, "no batch came from the loader for 5 s", "crash"),
}

if __name__ == "__main__":
    narrow()
    run_cases(CASES, __doc__)
