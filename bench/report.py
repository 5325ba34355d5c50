"""Records to tables and a page: `python -m bench.report [FOLDER|FILE...] [--html FILE] [--markdown FILE] ...`.

A pure function of the records. A record whose arithmetic does not close is refused, by name, and leaves no row; so is
one that a stand-in for a card made. A cell that was not measured is empty. No torch here.
"""

from __future__ import annotations

if not __package__:  # `python bench/report.py`, from any folder: its own is on the path, and not the checkout
    __import__("sys").path.insert(0, __file__.rsplit("/", 2)[0])

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from bench import errors
from bench.errors import UserError, run_cli
from bench.files import write_file
from bench.options import Bounds, Command, Metavar, Positional
from bench.records.record import RUNS, Record
from bench.reporting import tables
from bench.reporting.comparisons import Pair, compare_rows
from bench.reporting.load import find_records, load_failures, load_valid
from bench.reporting.page import render_page
from bench.reporting.rows import Failure, Row, Rows, make_rows


def write_files(options: ReportOptions, rows: Rows, pairs: list[Pair], records: list[Record]) -> None:
    """Every file asked for."""
    if options.markdown:
        write_file(options.markdown, tables.to_markdown(rows, pairs))
    if options.csv:
        write_file(options.csv, tables.to_csv(rows))
    if options.json:
        write_file(options.json, tables.to_json(rows, pairs))
    if options.html:
        write_file(options.html, render_page(rows, pairs, records, options.baselines))
        print(f"page: {options.html}")


@dataclass
class ReportOptions:
    """Tabulate records. Repeats of a cell at one commit are one row: median, 95 % interval, n."""

    places: Annotated[list[Path], Positional("PLACE")] = field(default_factory=lambda: [RUNS])
    """Folders or files"""
    html: Annotated[Path | None, Metavar("FILE")] = None
    """Write one page with tables and charts, too"""
    markdown: Annotated[Path | None, Metavar("FILE")] = None
    """Write the tables as Markdown, too"""
    csv: Annotated[Path | None, Metavar("FILE")] = None
    """Write the table as CSV, too"""
    json: Annotated[Path | None, Metavar("FILE")] = None
    """Write the tables as JSON, too"""
    all_commits: bool = False
    """A row for every commit, not for a cell's newest"""
    last: Annotated[int | None, Bounds(1)] = None
    """Only the newest rows, this many"""
    baselines: Annotated[Path, Metavar("FOLDER")] = RUNS.parent / "baselines"
    """Drawn in the history"""
    simulated: bool = False
    """Show records of simulated cards, too"""


COMMAND = Command("bench.report", ReportOptions, "results/runs --html report.html")


def main(argv: list[str] | None = None) -> None:
    options = COMMAND.parse(argv)
    failed = load_failures(options.places)
    records = load_valid(find_records(options.places), options.simulated) if not failed or any_records(options) else []
    rows = make_rows(records, every_commit=options.all_commits)
    if not rows and not failed:
        raise UserError("no record is left to show")
    pairs = compare_rows(rows)
    everything: list[Row | Failure] = [*rows, *failed]
    shown = everything[-options.last if options.last else 0 :]
    show_tables(shown, pairs, shutil.get_terminal_size((160, 40)).columns)
    write_files(options, shown, pairs, records)


def show_tables(rows: Rows, pairs: list[Pair], width: int) -> None:
    """The tables on the terminal, with their footnotes."""
    print(tables.to_console(tables.rows_table(rows), width))
    for i, note in enumerate(tables.footnotes(rows), 1):
        print(errors.one_line(f"{i}. {note}"))
    if pairs:
        print("\n" + tables.to_console(tables.device_table(pairs), width))


def any_records(options: ReportOptions) -> bool:
    return any(not place.is_dir() or any(place.glob("*.json")) for place in options.places)


if __name__ == "__main__":
    run_cli(main, "bench.report")
