"""From starting a run script to its first batch: `python -m benchmarks.startup --dataset DIR`.

The script itself is run, with a Python that notes when it reaches each stage and stops at the first batch. The first
run warms the file cache and is left out. CPU seconds are given too: on a busy machine the wall says little.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import Annotated

from bench.options import Bounds, Command

ROOT = Path(__file__).resolve().parent.parent
BEGAN = "CRNN_STARTUP_BEGAN"  # perf_counter when the script was started; one clock for all processes of a machine
MARKS = "CRNN_STARTUP_MARKS"  # file to which the stages are written
BAR_S = 4.0


@dataclass
class StartupOptions:
    """Measure how long a script takes to its first batch."""

    dataset: str = "data/sample"
    run: str = "CRNN_FP32_30E_1CPU_Train"
    """A training script of run_scripts/"""
    rounds: Annotated[int, Bounds(1)] = 5


COMMAND = Command("benchmarks.startup", StartupOptions, "--dataset data/sample")


@dataclass
class Stages:
    """The stages a run has reached: (name, wall seconds since the script was started, CPU seconds of this process)."""

    began: float
    reached: list[tuple[str, float, float]]

    def note(self, name: str) -> None:
        self.reached.append((name, time.perf_counter() - self.began, time.process_time()))

    def after(self, owner: object, function: str, name: str) -> None:
        """Note that stage whenever this function of a module or class has returned."""
        inner = getattr(owner, function)

        def noted(*args, **options):
            result = inner(*args, **options)
            self.note(name)
            return result

        setattr(owner, function, noted)


def child(words: list[str]) -> None:
    """What the run script starts in place of `python -m models.launch`: the same up to the first batch."""
    stages = Stages(float(os.environ[BEGAN]), [])
    stages.note("bash and python")
    import torch  # noqa: F401, the largest single import

    stages.note("import torch")
    from bench.machine.world import World
    from models import launch, train
    from models.run.measure import Instruments
    from models.training.optimizer import GuardedOptimizer

    stages.note("import the rest")
    train.COMMAND = SimpleNamespace(parse=train.COMMAND.parse)  # type: ignore[assignment]  # a Command is frozen
    stages.after(train.COMMAND, "parse", "read options")
    stages.after(World, "join", "device")
    stages.after(Instruments, "open", "sensors and checks")
    stages.after(train, "make_network", "network")
    stages.after(train, "make_train_set", "data set and its labels")
    stages.after(GuardedOptimizer, "__post_init__", "optimiser")
    stages.after(train, "announce_training", "loader, record, checkpoint")

    def first(*_) -> None:
        stages.note("first batch")
        Path(os.environ[MARKS]).write_text(json.dumps(stages.reached))
        os._exit(0)  # nothing of the run is wanted any more

    train.Training.train_step = first
    launch.run_alone = lambda program, words: train.main(words)
    sys.argv = ["models.launch", *words]
    launch.main()


def started(options: StartupOptions, folder: Path) -> list[tuple[str, float, float]]:
    """One start of the script: its stages."""
    python, marks = folder / "python", folder / "marks.json"
    # common.sh calls `$PYTHON -m models.launch RUN OPTIONS`
    python.write_text(f'#!/bin/sh\nshift 2\nexec "{sys.executable}" -m benchmarks.startup child "$@"\n')
    python.chmod(0o755)
    marks.unlink(missing_ok=True)
    words = ["--dataset", options.dataset, "--results", str(folder), "--checkpoints", str(folder)]
    command = ["bash", str(ROOT / "run_scripts" / f"{options.run}.sh"), *words]
    own = {"CRNN_PYTHON": str(python), MARKS: str(marks), BEGAN: str(time.perf_counter())}
    done = subprocess.run(command, env={**os.environ, **own}, capture_output=True, text=True)
    if not marks.exists():
        from bench.errors import UserError

        raise UserError(
            f"{options.run} reached no batch: {(done.stderr.strip() or 'it said nothing').splitlines()[-1]}"
        )
    return json.loads(marks.read_text())


def table(runs: list[list[tuple[str, float, float]]]) -> str:
    """Medians of what each stage took, and of the whole."""
    from tabulate import tabulate

    rows, before = [], [(0.0, 0.0)] * len(runs)
    for stages in zip(*runs, strict=True):
        now = [(wall, cpu) for _, wall, cpu in stages]
        taken = [[b[i] - a[i] for a, b in zip(before, now, strict=True)] for i in (0, 1)]
        rows.append([stages[0][0], median(taken[0]), median(taken[1])])
        before = now
    walls, cpus = zip(*before, strict=True)
    rows.append([f"whole (bar {BAR_S:g} s)", median(walls), median(cpus)])
    spread = f"whole: {min(walls):.2f} to {max(walls):.2f} s over {len(runs)} starts"
    return tabulate(rows, ["stage", "wall s", "CPU s"], "github", floatfmt=".2f") + f"\n\n{spread}"


def main(argv: list[str] | None = None) -> None:
    options = COMMAND.parse(argv)
    with tempfile.TemporaryDirectory() as folder:
        runs = [started(options, Path(folder)) for _ in range(options.rounds + 1)]
    print(table(runs[1:]))


if __name__ == "__main__":
    if sys.argv[1:2] == ["child"]:
        child(sys.argv[2:])
    else:
        from bench.errors import run_cli

        run_cli(main, "benchmarks.startup")
