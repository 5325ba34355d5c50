"""Change points: where the level of a cell changed. `python -m bench.history FOLDER`. No torch here."""

from __future__ import annotations

if not __package__:  # `python bench/history.py`, from any folder: its own is on the path, and not the checkout
    __import__("sys").path.insert(0, __file__.rsplit("/", 2)[0])

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import pandas as pd

from bench.errors import run_cli
from bench.judging.changes import find_changes
from bench.judging.policy import TOLERANCES, tolerance_of
from bench.options import Choices, Command, Positional
from bench.records import cells
from bench.records.record import RUNS
from bench.reporting.load import find_records, load_valid


def table_of_changes(places: list[Path], metric: str) -> pd.DataFrame:
    """One row a change, over every cell of the records in `places`."""
    tolerance, found = tolerance_of(metric), []
    for group in cells.group_repeats(load_valid(find_records(places)), by_code=False):
        known = [(record, value) for record in group if (value := tolerance.read(record)) is not None]
        for change in find_changes([value for _, value in known], tolerance):
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
    found = table_of_changes(options.places, options.metric)
    print("no lasting change" if found.empty else found.to_markdown(index=False, disable_numparse=True))


if __name__ == "__main__":
    run_cli(main, "bench.history")
