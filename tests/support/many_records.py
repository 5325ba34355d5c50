"""Ten thousand honest records, and what tabulating them costs: `python -m tests.support.many_records FOLDER [COUNT]`.

Forty cells, 120 steps a record, two runs of a build a day. Prints the seconds and the peak memory of the first pass,
which makes the index, and of the next one.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np

from bench.records.series import Series
from tests.support.records import make_record

CELLS, STEPS = 40, 120


def make(folder: Path, count: int) -> None:
    random = np.random.default_rng(1)
    began = datetime(2026, 1, 1, tzinfo=timezone.utc)
    for i in range(count):
        cell, run = i % CELLS, i // CELLS
        batch = 8 * (1 + cell)
        times = (0.05 * (1 + cell / 10) * np.exp(random.normal(0, 0.02, STEPS))).tolist()
        series = Series(times, [t / 100 for t in times], [batch] * STEPS).to_record()
        make_record(
            batch=batch, series=[series], started_utc=(began + timedelta(hours=12 * run)).isoformat(timespec="seconds"),
            provenance={"commit": f"{run // 2:040x}", "dirty": False, "host": "h", "versions": {"torch": "2.13.0"}},
        ).save(folder)  # fmt: skip


def report(folder: Path) -> str:
    began, used = time.monotonic(), cpu_s()
    subprocess.run([sys.executable, "-m", "bench.report", str(folder)], check=True, stdout=subprocess.DEVNULL)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    return f"{time.monotonic() - began:.1f} s, {cpu_s() - used:.1f} s of CPU, {peak:.0f} MiB at most of a process"


def cpu_s() -> float:
    """Of all children so far."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    place, count = Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 10_000
    make(place, count)
    print(f"{count:,} records, first pass: {report(place)}")
    print(f"again: {report(place)}")
