"""What a report of many records costs, as docs/gate.md shows it: `python -m benchmarks.records [--count 10000]`.

Copies of one record with clocks, commits and days of their own are written into a temporary folder, then bench.report
makes its table and page of them: with no index, with the index that this made, and after one more record. Seconds of
the clock and of processors (on a busy machine a command waits, and computes no more), and the most memory that the
command and its processes took together (shared pages once, looked at every 0.1 s).
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Annotated

import numpy as np
import psutil
from tabulate import tabulate

from bench.errors import UserError, run_cli
from bench.files import ROOT
from bench.options import Bounds, Command, Metavar
from bench.records.checks import validation_errors
from bench.records.derive import with_derived
from bench.records.record import Record
from bench.records.series import Series

CELLS, RUNS_A_DAY = 20, 5
BEGIN = datetime(2026, 1, 1, tzinfo=timezone.utc)


@dataclass
class RecordsOptions:
    """Time bench.report on many records."""

    record: Annotated[Path, Metavar("FILE")]
    """A record that is copied, such as one of a run of your own"""
    count: Annotated[int, Bounds(1)] = 10_000
    """Of copies"""


COMMAND = Command("benchmarks.records", RecordsOptions, "--record results/runs/CRNN_FP32_60S_1CPU_Train.*.json")


def copies(record: Record, count: int) -> Iterator[Record]:
    """Records of CELLS cells over many days, each with its own step times; a new commit a day."""
    random = np.random.default_rng(1)
    for i in range(count):
        day, cell = divmod(i // RUNS_A_DAY, CELLS)
        commit = f"{day:040x}"
        content = {name: getattr(record, name) for name in Record.__dataclass_fields__}
        content["series"] = [own_clock(rank, random) for rank in record.series]
        content["cell"] = {**record.cell, "threads_per_card": cell + 1}
        content["provenance"] = {**record.provenance, "commit": commit, "dirty": False, "diff_sha256": None}
        content["record_id"] = f"{i:08x}".ljust(32, "0")
        content["started_utc"] = (BEGIN + timedelta(days=day, minutes=i % (RUNS_A_DAY * CELLS))).isoformat()
        yield with_derived(Record(**content))


def own_clock(rank: dict[str, list[float]], random: np.random.Generator) -> dict[str, list[float]]:
    times = np.array(rank["step_s"])
    shaken = np.maximum(times * np.exp(random.normal(0, 0.02, len(times))), rank["wait_s"])
    return {**rank, **Series(shaken.tolist(), rank["wait_s"], rank["images"]).to_record()}


def memory_of(process: psutil.Process) -> int:
    """Bytes of a process and its children: pages that they share count once."""
    total = 0
    for one in [process, *process.children(recursive=True)]:
        try:
            total += one.memory_full_info().pss
        except psutil.Error:
            continue
    return total


def time_report(folder: Path) -> tuple[float, float, float]:
    """(seconds, seconds of processors, MiB) of bench.report with a page."""
    words = [sys.executable, "-m", "bench.report", str(folder), "--html", str(folder.parent / "page.html")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    began, used, most = time.monotonic(), processor_seconds(), 0
    with subprocess.Popen(words, env=environment, stdout=subprocess.DEVNULL) as running:
        while running.poll() is None:
            most = max(most, memory_of(psutil.Process(running.pid)))
            time.sleep(0.1)
    if running.returncode:
        raise UserError(f"bench.report ended with exit code {running.returncode}")
    return time.monotonic() - began, processor_seconds() - used, most / 2**20


def processor_seconds() -> float:
    """Of all processes that ended below this one."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def main(argv: list[str] | None = None) -> None:
    options = COMMAND.parse(argv)
    record = Record.load(options.record)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / "runs"
        made = copies(record, options.count + 1)
        for _, one in zip(range(options.count), made, strict=False):
            one.save(folder)
        if errors := validation_errors(one):
            raise UserError(f"copies of {options.record} do not hold: {errors[0]}")
        size = sum(file.stat().st_size for file in folder.iterdir()) / 2**20
        rows = [("no index yet", *time_report(folder)), ("the index is there", *time_report(folder))]
        next(made).save(folder)
        rows.append(("one more record", *time_report(folder)))
    print(f"{options.count:,} records of {CELLS} cells, {size:.0f} MiB\n")
    print(tabulate(rows, headers=["", "s", "CPU s", "MiB"], floatfmt=".1f", tablefmt="github"))


if __name__ == "__main__":
    run_cli(main, "benchmarks.records")
