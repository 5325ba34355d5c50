"""Where the time of a training run goes: `python -m bench.attribute CRNN_FP32_30E_1CPU_Train [options of the run]`.

Ablations of the run, each with one thing left out, run one after another in processes of their own; the time that one
saves is what the thing costs. Inside the work, torch's profiler says which kinds of operation take the time.
"""

from __future__ import annotations

if not __package__:  # `python bench/attribute.py`, from any folder: its own is on the path, and not the checkout
    __import__("sys").path.insert(0, __file__.rsplit("/", 2)[0])

import math
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tabulate import tabulate

from bench.errors import UserError, run_cli
from bench.machine.processes import RUN_SCRIPT, last_line, this_python
from bench.options import Bounds, Command, Positional
from bench.records.record import Record
from bench.records.run_name import RunName

WARMUP = 10  # steps
PROFILED = 5  # steps, after those that are timed
ABLATIONS = {
    "real": ("--without", "validation"),
    "memory": ("--input", "memory", "--profile-steps", str(PROFILED)),
    "loader": ("--without", "compute"),
    "no_sync": ("--input", "memory", "--without", "sync"),  # where there is more than one card
}


@dataclass(frozen=True)
class StepPart:
    """A part of a step. `level` 1 is a part of the whole, 2 a part of the row above it of level 1."""

    part: str
    ms: float
    share: float  # of the real step
    level: int
    found: str  # how
    bound_ms: float | None = None  # half the 95 % interval of `ms`


def run_ablation(run: str, ablation: str, rest: list[str], steps: int) -> Record:
    """The record of one ablation, run in its own process. Raises UserError with its last line when it fails."""
    with tempfile.TemporaryDirectory() as folder:
        folders = f"--results {folder} --checkpoints {folder}/checkpoints".split()
        length = f"--steps {steps + WARMUP} --warmup-steps {WARMUP} --min-steps 1 --min-seconds 0".split()
        command = ["bash", str(RUN_SCRIPT), run, *rest, *length, *folders, *ABLATIONS[ablation]]
        done = subprocess.run(command, env=this_python(), capture_output=True, text=True)
        records = [Record.load(path) for path in Path(folder).glob("*.json")]
    if done.returncode or len(records) != 1:
        raise UserError(f"the ablation '{ablation}' failed: {last_line(done.stderr.strip() or done.stdout)}")
    return records[0]


def run_ablations(run: str, rest: list[str], steps: int, rounds: int) -> dict[str, list[Record]]:
    """Every ablation that makes sense for the run, `rounds` times each, in turns: drift then affects all alike."""
    records: dict[str, list[Record]] = {ablation: [] for ablation in ABLATIONS}
    for _ in range(rounds):
        for ablation, found in records.items():
            if ablation == "no_sync" and records["real"][0].cell["cards"] == 1:
                continue
            print(f"running the ablation '{ablation}'", file=sys.stderr, flush=True)
            found.append(run_ablation(run, ablation, rest, steps))
    return {ablation: found for ablation, found in records.items() if found}


def step_ms(records: list[Record]) -> float:
    """The mean step, as means add up; of several rounds the median one."""
    return statistics.median(record.throughput["step_mean_ms"] or math.nan for record in records)


def step_bound_ms(records: list[Record]) -> float | None:
    """Half the 95 % interval of the mean step, from its own blocks; None where that is not known."""
    bounds = [record.steady.get("rate_bound_share") for record in records]
    known = [bound for bound in bounds if bound is not None]
    return step_ms(records) * max(known) / math.sqrt(len(known)) if len(known) == len(bounds) else None


def bound_of(*sides: float | None) -> float | None:
    """Of a difference, from those of its parts."""
    return None if None in sides else math.hypot(*(side or 0.0 for side in sides))


def step_parts(records: dict[str, list[Record]]) -> list[StepPart]:
    """Parts of the real step that add up to it. A part may come out below zero: then it is lost in the noise."""
    times = {ablation: step_ms(found) for ablation, found in records.items()}
    real, memory = times["real"], times["memory"]
    work = times.get("no_sync", memory)
    bounds = {ablation: step_bound_ms(found) for ablation, found in records.items()}
    of_work = bounds.get("no_sync", bounds["memory"])
    table = [
        StepPart("step", real, 1.0, 0, "the run as it is", bounds["real"]),
        StepPart(
            "data",
            real - memory,
            (real - memory) / real,
            1,
            "real - the same batches from memory",
            bound_of(bounds["real"], bounds["memory"]),
        ),
        StepPart(
            "communication",
            memory - work,
            (memory - work) / real,
            1,
            "memory - without exchange of gradients",
            bound_of(bounds["memory"], of_work),
        ),
        StepPart("compute", work, work / real, 1, "what is left", of_work),
    ]
    return [row for row in table if row.part != "communication" or "no_sync" in times] + operation_parts(
        records, work, real
    )


def operation_parts(records: dict[str, list[Record]], work: float, real: float) -> list[StepPart]:
    """Compute, by kind of operation."""
    breakdown = records["memory"][0].breakdown
    if breakdown is None:
        return []
    found = f"profile of {breakdown['steps']} steps, {breakdown['source']} time"
    return [StepPart(kind, work * share, work * share / real, 2, found) for kind, share in breakdown["shares"].items()]


def breakdown_table(records: dict[str, list[Record]]) -> str:
    """The table, and what the loader could feed."""
    real = records["real"][0]
    cells = [
        (
            "· " * row.level + row.part,
            f"{row.ms:.2f}" + (f" ± {row.bound_ms:.2f}" if row.bound_ms is not None else ""),
            f"{row.share:.1%}",
            row.found,
        )
        for row in step_parts(records)
    ]
    table = tabulate(cells, ("part", "ms a step", "share", "found as"), "simple", disable_numparse=True)
    loader = step_ms(records["loader"])
    rate = real.cell["global_batch"] / loader * 1e3
    card = f"{real.cell['cards']} x {real.cell['card']}, {real.cell['precision']}, batch {real.cell['batch_per_card']}"
    return (
        f"{real.run} on {card}, {real.throughput['measured_steps']} steps per ablation\n\n{table}\n\n"
        f"The run itself waited {real.throughput['data_wait_share']:.1%} of its time for data."
        f" The loader alone needs {loader:.2f} ms a step: it feeds at most {rate:,.0f} images/s."
    )


@dataclass
class AttributeOptions:
    """Run the ablations of a training run and say where its time goes. Other options go to the run."""

    run: Annotated[str, Positional("RUN_NAME")]
    """Such as CRNN_FP32_30E_1CPU_Train"""
    twin_steps: Annotated[int, Bounds(1)] = 50
    """Timed steps of each ablation"""
    rounds: Annotated[int, Bounds(1)] = 1
    """Times each ablation runs; the median counts"""


COMMAND = Command("bench.attribute", AttributeOptions, "CRNN_FP32_30E_1CPU_Train --batch-size 32", rest="unknown")


def main(argv: list[str] | None = None) -> None:
    options, rest = COMMAND.parse_known(argv)
    if RunName.parse(options.run).task != "Train":
        raise UserError(f"{options.run}: only training has ablations; name a _Train run")
    print(breakdown_table(run_ablations(options.run, rest, options.twin_steps, options.rounds)))


if __name__ == "__main__":
    run_cli(main, "bench.attribute")
