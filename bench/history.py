"""Change points: where the level of a cell changed. `python -m bench.history FOLDER`. No torch here.

A history follows a configuration and starts anew where its environment (machine class, torch, libraries) changes, so
that no commit is blamed for a new driver. Runs of one sitting are one value where there are sittings enough.
"""

from __future__ import annotations

if not __package__:  # `python bench/history.py`, from any folder: its own is on the path, and not the checkout
    __import__("sys").path.insert(0, __file__.rsplit("/", 2)[0])

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import pandas as pd

from bench.errors import run_cli
from bench.judging.changes import find_changes
from bench.judging.policy import TOLERANCES, tolerance_of
from bench.judging.sittings import history_points
from bench.options import Choices, Command, Positional
from bench.records import cells
from bench.records.record import RUNS, Record
from bench.reporting.load import find_records, load_valid


def histories(records: list[Record]) -> list[list[Record]]:
    """Records of one configuration in one environment, oldest first; without runs that failed or left something out."""
    groups: dict[str, list[Record]] = {}
    for record in sorted(records, key=lambda one: (one.started_utc, one.record_id)):
        if not cells.is_failed(record):
            groups.setdefault(cells.speed_key(record), []).append(record)
    return list(groups.values())


def blame(before: Record, after: Record) -> str:
    """The commits between which the level changed; the same code is not to blame."""
    old, new = ((one.provenance.get("commit") or "no commit")[:9] for one in (before, after))
    if cells.build_of(before) == cells.build_of(after):
        return f"{new}, and so before: not the code"
    return f"{old}..{new}"


def table_of_changes(places: list[Path], metric: str) -> pd.DataFrame:
    """One row a change, over every cell of the records in `places`."""
    return pd.DataFrame(changes_in(load_valid(find_records(places)), metric))


def changes_in(records: list[Record], metric: str) -> Iterator[dict[str, str]]:
    tolerance = tolerance_of(metric)
    for group in histories(records):
        points = history_points(group, tolerance.read)
        for change in find_changes([value for _, value in points], tolerance):
            before, after = points[change.index - 1][0][-1], points[change.index][0][0]
            size = f"{change.share * 100:+.1f} points" if tolerance.absolute else f"{change.share:+.1%}"
            yield {
                "run": after.run,
                "card": after.cell["card"],
                "since": after.started_utc,
                "commits": blame(before, after),
                f"{metric} changed": size,
                "verdict": "better" if change.share * tolerance.better > 0 else "worse",
                "p": "< 1e-6" if change.p < 1e-6 else f"{change.p:.1g}",
            }


@dataclass
class HistoryOptions:
    """Change points in the history of every cell: bench/judging/changes.py says how."""

    places: Annotated[list[Path], Positional("PLACE")] = field(default_factory=lambda: [RUNS])
    """Folders or files"""
    metric: Annotated[str, Choices(tuple(TOLERANCES))] = "throughput"


COMMAND = Command("bench.history", HistoryOptions, "results/runs --metric throughput")


def main(argv: list[str] | None = None) -> None:
    options = COMMAND.parse(argv)
    found = table_of_changes(options.places, options.metric)
    print("no lasting change" if found.empty else found.to_markdown(index=False, disable_numparse=True))


if __name__ == "__main__":
    run_cli(main, "bench.history")
