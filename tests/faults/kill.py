"""kill -9 at random moments: `python -m tests.faults.kill --times 100`.

A training (or with --what prepare the writing of an LMDB) is killed, started again by the same command, killed again,
until it ends by itself. What it leaves must then be, to the last bit, what an undisturbed run leaves.
"""

from __future__ import annotations

import argparse
import hashlib
import mmap
import os
import random
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator

import lmdb

from models import prepare, train
from models.data import conversion, parallel
from models.train import Training
from tests.faults.runs import Place, Tally, ended, fingerprint, last_line, narrow, place, start

PHASES = {
    "start": ["__init__"],
    "step": ["train_step"],
    "checkpoint": ["save"],
    "evaluation": ["validate"],
    "record": ["progress_section"],
}
MOST = 30  # kills of one training; then it may end


class Marked:
    """Says in shared memory which phase the process is in, and how often it has entered it."""

    def __init__(self, owner, phases: dict[str, list[str]]):
        self.page, self.names = mmap.mmap(-1, 4096), ["other", *phases]
        for number, methods in enumerate(phases.values(), 1):
            for name in methods:
                setattr(owner, name, self.marking(number, getattr(owner, name)))

    def marking(self, number: int, method: Callable) -> Callable:
        def marked(*arguments, **options):
            before, self.page[0] = self.page[0], number
            self.page[number] = (self.page[number] + 1) % 256
            try:
                return method(*arguments, **options)
            finally:
                self.page[0] = before

        return marked

    def reset(self) -> None:
        self.page[:16] = bytes(16)

    @property
    def phase(self) -> str:
        return self.names[self.page[0]]

    def entered(self, phase: str) -> int:
        return self.page[self.names.index(phase)]


def kill_in(process: int, marks: Marked, phase: str, nth: int, delay_s: float) -> str | None:
    """Kill the process so long after it entered a phase for the nth time ("any": after its start).

    Gives the phase in which it was; None: it had ended by itself.
    """
    while phase != "any" and marks.entered(phase) < nth:
        if os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            return None
        time.sleep(0.0002)
    time.sleep(delay_s)
    if os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT):
        return None
    os.kill(process, signal.SIGKILL)
    return marks.phase


def moments(phases: list[str], whole_s: float, seed: int) -> Iterator[tuple[str, int, float]]:
    """(phase, which time, seconds after): any moment of a run, and moments inside each phase, in turn."""
    draw = random.Random(seed)
    while True:
        yield "any", 0, draw.uniform(0, whole_s)
        for phase in phases:
            yield phase, draw.randint(1, 3), draw.choice([0, draw.uniform(0, 0.005), draw.uniform(0, 0.05)])


def disturbed(begin: Callable[[], int], marks: Marked, moment: Iterator, most: int) -> tuple[Counter, int]:
    """Start and kill until it ends by itself: the phases in which it was killed, and its exit code."""
    killed: Counter = Counter()
    while True:
        marks.reset()
        process = begin()
        found = kill_in(process, marks, *next(moment)) if killed.total() < most else None
        code = ended(process)
        if found is None:
            return killed, code
        killed[found] += 1


def campaign(name: str, times: int, begin: Callable[[Place], int], result: Callable[[Place], str], marks, where, seed):
    """Kill until `times` are reached; gives the tally."""
    began = time.monotonic()
    assert ended(begin(where)) == 0, where.said()
    whole_s, wanted = time.monotonic() - began, result(where)
    print(f"undisturbed: {whole_s:.1f} s, {wanted}", flush=True)
    tally, moment, done = Tally(), moments(marks.names[1:], whole_s, seed), 0
    while done < times:
        for left in ("ck", "runs", "lmdb", "log"):
            shutil.rmtree(where.folder / left, ignore_errors=True) if left != "log" else where.log.unlink(True)
        killed, code = disturbed(lambda: begin(where), marks, moment, min(MOST, times - done))
        found = result(where) if code == 0 else f"exit code {code}: {last_line(where.said())}"
        same = found == wanted
        for phase, count in killed.items():
            tally.count(f"{name}, killed in {phase}", same, "" if same else f"{found}, not {wanted}", count)
        done += killed.total()
        print(f"  {done} kills, exit code {code}, {'same bits' if same else 'OTHER BITS'}", flush=True)
    return tally


def train_small(where: Place) -> int:
    """With augmentation, so that a generator that went on from elsewhere would be seen in the weights."""
    return start(lambda: train.main(where.words(resume="auto", augment=True)), where.log)


def prepare_small(where: Place) -> int:
    words = ["--source", str(where.data), "--out", str(where.folder / "lmdb"), "--workers", "1", "--tolerate", "1"]
    return start(lambda: prepare.main(words), where.log)


def stored(where: Place) -> str:
    """sha256 of all keys and values of the LMDBs that were prepared."""
    digest = hashlib.sha256()
    for folder in sorted(path.parent for path in (where.folder / "lmdb").glob("*/data.mdb")):
        with lmdb.open(str(folder), readonly=True, lock=False) as environment, environment.begin() as reading:
            for key, value in reading.cursor():
                digest.update(key + value)
    return digest.hexdigest()


def last(where: Place) -> str:
    parts = {name: fingerprint(where.newest(name)) for name in ("last.pt", "best.pt")}
    return ", ".join(f"{name} {digest[:16]}" for name, digest in parts.items())


def main(argv: list[str] | None = None) -> Tally:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=100)
    parser.add_argument("--what", choices=["train", "prepare"], default="train")
    parser.add_argument("--full", action="store_true", help="the network at its full widths: 67 MB a checkpoint")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args(argv)
    with place() as where:
        if options.what == "prepare":
            parallel.CHUNK = 2  # samples a commit, so that 40 images are many of them
            marks = Marked(conversion.LMDBWriter, {"commit": ["add"], "finish": ["finish"]})
            return campaign("prepare", options.times, prepare_small, stored, marks, where, options.seed)
        if not options.full:
            narrow()
        marks = Marked(Training, PHASES)
        return campaign("train", options.times, train_small, last, marks, where, options.seed)


if __name__ == "__main__":
    main().close()
