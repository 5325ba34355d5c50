"""Change points: where the level of a cell changed. `python -m bench.history FOLDER`. No torch here."""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

from bench.errors import UserError, run_cli
from bench.judging.changes import find_changes
from bench.judging.policy import TOLERANCES, tolerance_of
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


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="bench.history",
        description="Change points in the history of every cell, by E-divisive with a t-test (arXiv 2301.03034).",
        epilog="example: python -m bench.history results/runs --metric throughput",
    )
    parser.add_argument("places", nargs="*", type=Path, default=[RUNS], help="folders or files (default: results/runs)")
    parser.add_argument("--metric", default="throughput", help=", ".join(TOLERANCES))
    options = parser.parse_args(argv)
    if options.metric not in TOLERANCES:
        raise UserError(f"no metric '{options.metric}'; there are {', '.join(TOLERANCES)}")
    found = table_of_changes(options.places, options.metric)
    print("no lasting change" if found.empty else found.to_markdown(index=False, disable_numparse=True))


if __name__ == "__main__":
    run_cli(main, "bench.history")
