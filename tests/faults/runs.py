"""Runs small enough to be spoiled a hundred times, in processes of their own, and the count of how they ended.

A process is forked from one that has imported torch, so that a run costs a second and not ten; kill -9 does not know
the difference. The network is the CRNN with a sixteenth of its widths unless `full` is asked for.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch

from bench.errors import run_cli
from models import render, train
from models.network import backbones, vgg
from models.weights import checkpoint

NARROW = (4, 8, 16, 16, 32, 32, 32)
OPTIONS = {
    "--device": "CPU", "--model.hidden": 8, "--batch-size": 4, "--epochs": 3, "--save-every": 2, "--log-every": 1,
    "--data.width": 48, "--warmup-steps": 1, "--min-steps": 1, "--min-seconds": 0,
    "--overwrite": True,
}  # fmt: skip


def narrow() -> None:
    """From now on "vgg" means a network of 50 thousand parameters."""
    vgg.CHANNELS = NARROW
    backbones.BACKBONES["vgg"] = backbones.Backbone(vgg.vgg, NARROW[-1])


def words(**options) -> list[str]:
    """OPTIONS and others as a command line: words(resume=True, save_every=3)."""
    given = OPTIONS | {f"--{name.replace('_', '-')}": value for name, value in options.items()}
    return [word for name, value in given.items() for word in ([name] if value is True else [name, str(value)])]


@dataclass
class Place:
    """A folder with a rendered data set and room for what runs write."""

    folder: Path

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def log(self) -> Path:
        return self.folder / "log"

    def words(self, **options) -> list[str]:
        places = {"dataset": self.data, "checkpoints": self.folder / "ck", "results": self.folder / "runs"}
        return words(**{**places, **options})

    def newest(self, name: str = "last.pt") -> Path:
        return max((self.folder / "ck").glob(f"*/{name}"), key=lambda path: path.stat().st_mtime)

    def said(self) -> str:
        return self.log.read_text(errors="replace") if self.log.exists() else ""


@contextmanager
def place(images: int = 40):
    """A Place in a temporary folder; three fifths of its images are to train on."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        made = Place(Path(folder))
        shares = ["--seed", "7", "--split", "0.6/0.2/0.2", "--workers", "1", "--style", "plain"]
        with quiet():
            render.main(["--out", str(made.data), "--count", str(images), *shares])
        yield made


@contextmanager
def quiet():
    kept, nothing = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    sys.stdout.flush()
    os.dup2(nothing, 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nothing)


def start(work: Callable[[], object], log: Path) -> int:
    """Begin `work` in a process group of its own; gives its process number."""
    sys.stdout.flush()
    if number := os.fork():
        return number
    code: object = 1
    try:
        os.setpgid(0, 0)
        file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(file, 1)
        os.dup2(file, 2)
        run_cli(work, "fault")
        code = 0
    except SystemExit as ending:
        code = ending.code
    except BaseException:
        traceback.print_exc()
        raise
    finally:
        sys.stdout.flush()
        os._exit(code if isinstance(code, int) else 1)


def train_in(where: Place, **options) -> int:
    return start(lambda: train.main(where.words(**options)), where.log)


def ended(process: int, timeout_s: float = 300) -> int:
    """The exit code (minus a signal's number) of a process, which is killed after timeout_s."""
    deadline = time.monotonic() + timeout_s
    while True:
        done, status = os.waitpid(process, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > deadline:
            os.killpg(process, signal.SIGKILL)
            os.waitpid(process, 0)
            raise TimeoutError(f"no end after {timeout_s:g} s")
        time.sleep(0.002)


def fingerprint(path: Path) -> str:
    """sha256 of what a run computes, weights, optimiser, position, generators, to the last bit; not where it lies."""
    digest = hashlib.sha256()

    def take(value) -> None:
        if isinstance(value, torch.Tensor):
            digest.update(value.contiguous().numpy().tobytes())
        elif isinstance(value, dict):
            for key in sorted(value, key=str):
                digest.update(str(key).encode())
                take(value[key])
        elif isinstance(value, list | tuple):
            list(map(take, value))
        else:
            digest.update(repr(value).encode())

    content = checkpoint.read(path)
    for name in ("dataset", "checkpoints", "results", "resume"):
        content["options"].pop(name, None)
    take(content)
    return digest.hexdigest()


@dataclass
class Tally:
    """How often each fault was tried and survived, and what was said."""

    rows: dict[str, list[int]] = field(default_factory=dict)
    said: dict[str, str] = field(default_factory=dict)

    def count(self, fault: str, survived: bool, said: str = "", times: int = 1) -> None:
        row = self.rows.setdefault(fault, [0, 0])
        row[0] += times
        row[1] += times * survived
        if said and (not survived or fault not in self.said):
            self.said[fault] = said
        if not survived:
            print(f"LOST: {fault}: {said}", flush=True)

    def table(self) -> str:
        lines = ["| fault | tried | survived | lost | what was said |", "|---|---|---|---|---|"]
        for fault, (tried, survived) in self.rows.items():
            said = " ".join(self.said.get(fault, "").replace("|", "/").split())
            lines.append(f"| {fault} | {tried} | {survived} | {tried - survived} | {said} |")
        tried, survived = (sum(row[i] for row in self.rows.values()) for i in (0, 1))
        return "\n".join([*lines, f"tried {tried}, survived {survived}, lost {tried - survived}"])

    def close(self) -> None:
        """Print the table and end the program: 0 when nothing was lost."""
        print(self.table(), flush=True)
        sys.exit(any(survived < tried for tried, survived in self.rows.values()))


def last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1].strip() if lines else ""


def run_cases(cases: dict[str, Callable[[], tuple[bool, str]]], about: str) -> None:
    """A program: every case that `--only` matches, and the table. A case gives whether it held, and what was said."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--only", default="", help="the cases whose name has this in it")
    parser.add_argument("--times", type=int, default=1)
    options = parser.parse_args()
    tally = Tally()
    for _ in range(options.times):
        for name, case in cases.items():
            if options.only in name:
                began = time.monotonic()
                tally.count(name, *case())
                print(f"{name}: {time.monotonic() - began:.0f} s", flush=True)
    tally.close()
