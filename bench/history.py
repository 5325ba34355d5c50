"""Where did the level of a cell change? `python -m bench.history FOLDER`: change points in the order of time. No torch.

E-divisive (Matteson and James, JASA 109, 2014) with Student's t-test in place of its permutations, on windows, as in
Hunter (Fleming et al., arXiv 2301.03034; apache/otava): deterministic, and it finds small lasting changes that a
threshold on single runs cannot. Otava itself is not used, for the chat and database clients it brings along.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd

from bench.errors import run_cli
from bench.judging.policy import HISTORY_P, HISTORY_WINDOW, TOLERANCES, Tolerance, row
from bench.judging.statistics import t_test
from bench.options import Choices, Command, Positional
from bench.records import cells
from bench.records.record import RUNS


@dataclass(frozen=True)
class Change:
    """The level from run `index` on differs from the one before by `share` (points, of a share), with p-value `p`."""

    index: int
    share: float
    p: float


def divergence(values: np.ndarray) -> np.ndarray:
    """The energy statistic Q of a split before each index 1..n-1 (alpha = 1); larger is more different."""
    n = len(values)
    distance = np.abs(values[:, None] - values[None, :])
    inside = np.cumsum(np.cumsum(distance, 0), 1)
    splits = np.arange(1, n)
    left = inside[splits - 1, splits - 1]
    right = inside[-1, -1] - 2 * inside[splits - 1, -1] + left
    across = inside[splits - 1, -1] - left
    m, k = splits, n - splits
    with np.errstate(invalid="ignore", divide="ignore"):
        within = np.where(m > 1, left / (m * (m - 1)), 0) + np.where(k > 1, right / (k * (k - 1)), 0)
    return m * k / n * (2 * across / (m * k) - within)


def split(values: np.ndarray, start: int, stop: int) -> list[int]:
    """Change points inside values[start:stop], by recursion while the test agrees."""
    if stop - start < 4:
        return []
    at = start + 1 + int(np.argmax(divergence(values[start:stop])))
    if t_test(values[start:at], values[at:stop]) > HISTORY_P:
        return []
    return [*split(values, start, at), at, *split(values, at, stop)]


def changes(series: Sequence[float], tolerance: Tolerance = TOLERANCES["throughput"]) -> list[Change]:
    """Lasting changes of the level of a series, in order, none smaller than the accepted loss."""
    values = np.asarray(series, float) if tolerance.absolute else np.log(np.asarray(series, float))
    points: set[int] = set()
    for start in range(0, max(1, len(values) - HISTORY_WINDOW // 2), HISTORY_WINDOW // 2):  # windows overlap by half
        points |= set(split(values, start, min(len(values), start + HISTORY_WINDOW)))
    return merged(values, sorted(points), tolerance)


def merged(values: np.ndarray, points: list[int], tolerance: Tolerance) -> list[Change]:
    """Without the points that a test against their neighbouring segments does not bear out, the weakest going first."""
    while points:
        edges = [0, *points, len(values)]
        found = [describe(values, *edges[i : i + 3], tolerance) for i in range(len(points))]
        weak = [c for c in found if c.p > HISTORY_P or abs(c.share) < tolerance.margin]
        if not weak:
            return found
        points = [point for point in points if point != max(weak, key=lambda c: c.p).index]
    return []


def describe(values: np.ndarray, start: int, at: int, stop: int, tolerance: Tolerance) -> Change:
    left, right = values[start:at], values[at:stop]
    moved = float(np.median(right) - np.median(left))
    return Change(at, moved if tolerance.absolute else float(np.expm1(moved)), t_test(left, right))


def table(places: list[Path], metric: str) -> pd.DataFrame:
    """One row a change, over every cell of the records in `places`."""
    from bench.report import believed, record_files

    tolerance, found = row(metric), []
    for group in cells.grouped(believed(record_files(places)), by_code=False):
        known = [(record, value) for record in group if (value := tolerance.read(record)) is not None]
        for change in changes([value for _, value in known], tolerance):
            record = known[change.index][0]
            found.append(
                {
                    "run": record.run,
                    "card": record.cell["card"],
                    "since": record.started_utc,
                    "commit": (record.provenance.get("commit") or "")[:9],
                    f"{metric} changed": f"{change.share:+.1%}",
                    "verdict": "better" if change.share * tolerance.better > 0 else "worse",
                    "p": f"{change.p:.1g}",
                }
            )
    return pd.DataFrame(found)


@dataclass
class HistoryOptions:
    """Change points in the history of every cell, by E-divisive with a t-test (arXiv 2301.03034)."""

    places: Annotated[list[Path], Positional("PLACE")] = field(default_factory=lambda: [RUNS])
    """Folders or files"""
    metric: Annotated[str, Choices(tuple(TOLERANCES))] = "throughput"


COMMAND = Command("bench.history", HistoryOptions, "results/runs --metric throughput")


def main(argv: list[str] | None = None) -> None:
    options = COMMAND.parse(argv)
    found = table(options.places, options.metric)
    print("no lasting change" if found.empty else found.to_markdown(index=False, disable_numparse=True))


if __name__ == "__main__":
    run_cli(main, "bench.history")
