"""Ranks that die, stop or hang, and runs that are asked to end: `python -m tests.faults.ranks`.

Two and four ranks on CPU under the project's own launcher (bench/machine/launcher.py over torchrun), CRNN_TIMEOUT_S=8.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from models.weights import checkpoint
from tests.faults.runs import Place, fingerprint, last_line, place, run_cases
from tests.support import ROOT

TIMEOUT_S = 8  # of a rank that is silent
LAUNCH = (
    "import sys; from bench.errors import run_cli; from bench.machine.hosts import Place;"
    " from bench.machine.launcher import launch;"
    " run_cli(lambda: launch('tests.faults.rank', int(sys.argv[1]), sys.argv[2:], Place()), 'launch')"
)
ALONE = "import runpy, sys; sys.argv[1:2] = []; runpy.run_module('tests.faults.rank', run_name='__main__')"


def begin(where: Place, cards: int, environment: dict | None = None, **options) -> subprocess.Popen:
    """The launcher and its ranks, in a process group of their own; one card runs without torchrun."""
    settings = {
        **os.environ, "OMP_NUM_THREADS": "1", "CRNN_TIMEOUT_S": str(TIMEOUT_S), "TORCH_CPP_LOG_LEVEL": "ERROR",
        "FAULT_DONE": str(where.folder / "done"), **(environment or {}),
    }  # fmt: skip
    words = [sys.executable, "-c", LAUNCH if cards > 1 else ALONE, str(cards), *where.words(**options)]
    with where.log.open("w") as log:
        return subprocess.Popen(words, cwd=ROOT, env=settings, stdout=log, stderr=log, start_new_session=True)


def finish(process: subprocess.Popen, timeout_s: float = 400) -> int:
    """The exit code; a group that has not ended in time is a lost one."""
    try:
        return process.wait(timeout_s)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def newest_record(where: Place) -> dict:
    path = max((where.folder / "runs").glob("*.json"), key=lambda path: path.stat().st_mtime)
    return json.loads(path.read_text())


def undisturbed(cards: int, **options) -> str:
    with place() as where:
        assert finish(begin(where, cards, **options)) == 0, where.said()
        return fingerprint_of(where)


def fingerprint_of(where: Place) -> str:
    """Without the name of the job, which no two launches share."""
    content = checkpoint.read(where.newest())
    content.pop("job")
    checkpoint.write(content, where.folder / "compared.pt")
    return fingerprint(where.folder / "compared.pt")


def restarted(how: str) -> Callable[[], tuple[bool, str]]:
    """A rank fails; torchrun starts the group again, and the end is that of an undisturbed run."""

    def case() -> tuple[bool, str]:
        with place() as where:
            code = finish(begin(where, 2, {"FAULT": f"{how}:1:5", "MAX_RESTARTS": "1"}))
            if code:
                return False, f"exit code {code}: {last_line(where.said())}"
            record, same = newest_record(where)["training"], fingerprint_of(where) == undisturbed(2)
            said = f"{record['restarts']} restart from step {record['resumed_from_step']}, same bits: {same}"
            return same and record["restarts"] == 1, said

    return case


def after_fault(where: Place, process: subprocess.Popen) -> tuple[int, float]:
    """Exit code of a run, and how many seconds it took to end from its fault on."""
    while not (where.folder / "done").exists():
        time.sleep(0.05)
    began = time.monotonic()
    return finish(process), time.monotonic() - began


def over(how: str, within_s: float) -> Callable[[], tuple[bool, str]]:
    """A rank fails and nothing is restarted: the run ends in time and says so."""

    def case() -> tuple[bool, str]:
        with place() as where:
            process = begin(where, 2, {"FAULT": f"{how}:1:5"})
            (code, took), said = after_fault(where, process), last_line(where.said())
            kept = checkpoint.read(where.newest())["stepper"]["step"] == 4
            return code not in (0, None) and took < within_s and kept, f"after {took:.0f} s, exit code {code}: {said}"

    return case


def out_of_memory(whom: str) -> Callable[[], tuple[bool, str]]:
    """A rank, which need not lead, or all of them: one record says so, and a line names a batch that fits."""

    def case() -> tuple[bool, str]:
        with place() as where:
            process = begin(where, 2, {"FAULT": f"oom:{whom}:5"})
            code, took = after_fault(where, process)
            records = [json.loads(path.read_text()) for path in (where.folder / "runs").glob("*.json")]
            kept = checkpoint.read(where.newest())["stepper"]["step"] == 4
            told = [line for line in where.said().splitlines() if "--batch-size 4: --batch-size 2 fits" in line]
            reasons = [one["status_reasons"] for one in records]
            said = f"exit code {code} after {took:.0f} s; {reasons}; {told}"
            return code == 2 and [one["status"] for one in records] == ["oom"] and kept and bool(told), said

    return case


def stopped(cards: int, number: int, whom: str) -> Callable[[], tuple[bool, str]]:
    """A signal asks the run to end; it writes a checkpoint and resumes from it to the same bits."""

    def case() -> tuple[bool, str]:
        with place() as where:
            process = begin(where, cards, {"FAULT": "slow:0:0"}, save_every=1000)
            time.sleep(0.5)
            while "images of" not in where.said():
                time.sleep(0.05)
            time.sleep(2)
            (os.kill if whom == "launcher" else os.killpg)(process.pid, number)
            code = finish(process)
            step, said = checkpoint.read(where.newest())["stepper"]["step"], where.said()
            again = finish(begin(where, cards, resume=True, save_every=1000))
            same = again == 0 and fingerprint_of(where) == undisturbed(cards, save_every=1000)
            sentence = next((line.strip() for line in said.splitlines() if "stopped by" in line), last_line(said))
            return same and code == 128 + number, f"exit code {code}; {sentence}; at step {step}; same bits: {same}"

    return case


def other_cards(first: int, second: int) -> Callable[[], tuple[bool, str]]:
    """A run of two epochs resumes with another number of cards: every sample of each epoch is seen once."""

    def case() -> tuple[bool, str]:
        with place(100) as where, tempfile.TemporaryDirectory() as seen:
            begun = {"SEEN": seen, "FAULT": "slow:0:0"}
            process = begin(where, first, begun, epochs=2, batch_size=2)
            while not list(Path(seen).glob("0.*")):
                time.sleep(0.05)
            time.sleep(1)
            process.send_signal(signal.SIGTERM)
            stopped_with = finish(process)
            at = checkpoint.read(where.newest())["position"]
            code = finish(begin(where, second, {"SEEN": seen}, epochs=2, batch_size=2, resume=True))
            counts = {epoch: Counter(numbers(Path(seen), epoch)) for epoch in (0, 1)}
            record = newest_record(where)
            n, once = record["dataset"]["n"], all(set(one.values()) == {1} for one in counts.values())
            every = all(len(one) == n for one in counts.values()) and not list(Path(seen).glob("2.*"))
            said = f"stopped ({stopped_with}) after {at['consumed']} of {n} samples; all seen once: {once and every}"
            return code == 0 and once and every and record["training"]["epochs"] == 2, said

    return case


def numbers(folder: Path, epoch: int) -> list[str]:
    return [line for path in folder.glob(f"{epoch}.*") for line in path.read_text().split()]


CASES = {
    "rank of 2 killed, MAX_RESTARTS=1": restarted("kill"),
    "rank of 2 stopped (SIGSTOP), MAX_RESTARTS=1": restarted("stop"),
    "rank of 2 hangs, MAX_RESTARTS=1": restarted("hang"),
    "rank of 2 killed, no restarts": over("kill", 60),
    "rank of 2 stopped (SIGSTOP), no restarts": over("stop", TIMEOUT_S + 60),
    "rank of 2 hangs, no restarts": over("hang", TIMEOUT_S + 60),
    "rank of 2 out of memory": out_of_memory("1"),
    "both ranks out of memory": out_of_memory("all"),
    "SIGTERM, 1 card": stopped(1, signal.SIGTERM, "launcher"),
    "SIGINT, 1 card": stopped(1, signal.SIGINT, "launcher"),
    "SIGTERM to the launcher of 2": stopped(2, signal.SIGTERM, "launcher"),
    "SIGINT to the launcher of 2": stopped(2, signal.SIGINT, "launcher"),
    "SIGINT to all of 2, as a terminal does": stopped(2, signal.SIGINT, "group"),
    "4 cards, then 2": other_cards(4, 2),
    "2 cards, then 1": other_cards(2, 1),
    "1 card, then 2": other_cards(1, 2),
}

if __name__ == "__main__":
    run_cases(CASES, __doc__)
