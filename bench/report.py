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
from bench.records.record import RUNS
from bench.reporting import tables
from bench.reporting.comparisons import Pair, compare_rows
from bench.reporting.index import Entry
from bench.reporting.load import find_records, load_entries, load_failures
from bench.reporting.page import render_page
from bench.reporting.rows import Failure, Row, Rows, make_rows
from bench.reporting.trend import fill_in_changes


def write_files(options: ReportOptions, rows: Rows, pairs: list[Pair], entries: list[Entry]) -> None:
    """Every file asked for."""
    columns = tables.chosen_columns(rows, options.columns)
    if options.markdown:
        write_file(options.markdown, tables.to_markdown(rows, pairs, columns, options.repo_url))
    if options.csv:
        write_file(options.csv, tables.to_csv(rows))
    if options.json:
        write_file(options.json, tables.to_json(rows, pairs))
    if options.benchmark_action:
        write_file(options.benchmark_action, tables.to_benchmark_action(rows))
    if options.html:
        write_file(options.html, render_page(rows, pairs, entries, options.baselines, columns, options.repo_url))


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
    benchmark_action: Annotated[Path | None, Metavar("FILE")] = None
    """Write the table for github-action-benchmark (customBiggerIsBetter), too"""
    columns: Annotated[str | None, Metavar("NAME,...")] = None
    """Columns instead of the usual ones; `all`: every one"""
    repo_url: Annotated[str | None, Metavar("URL")] = None
    """Address of the repository: commits become links"""
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
    if options.repo_url and not options.repo_url.startswith(("https://", "http://")):
        raise UserError(f"--repo-url {options.repo_url}: want an address that begins with https://")
    failed = load_failures(options.places)
    entries = (
        load_entries(find_records(options.places), options.simulated) if not failed or any_records(options) else []
    )
    rows = rows_of_entries(entries, options.all_commits)
    if not rows and not failed:
        raise UserError("no record is left to show")
    fill_in_changes(rows, entries, options.baselines)
    pairs = compare_rows(rows)
    shown = newest_rows([*rows, *failed], options.last)
    write_files(options, shown, pairs, entries)  # before a reader such as `head` has enough
    show_tables(
        shown, pairs, shutil.get_terminal_size((160, 40)).columns, tables.chosen_columns(shown, options.columns)
    )
    if options.html:
        print(f"page: {options.html}")


def rows_of_entries(entries: list[Entry], every_commit: bool) -> list[Row]:
    """Rows of whole records; only of the newest build of each cell unless all are wanted: few files are read."""
    newest = {e.key: e.build for e in sorted(entries, key=lambda e: e.started_utc) if not e.failed}
    wanted = [e for e in entries if every_commit or e.failed or e.build == newest[e.key]]
    return make_rows([entry.record() for entry in wanted], every_commit=every_commit)


def newest_rows(rows: list[Row | Failure], most: int | None) -> list[Row | Failure]:
    """The rows that were measured last, in the order of the table."""
    by_time = sorted(rows, key=lambda row: row.started_utc if isinstance(row, Failure) else row.records[-1].started_utc)
    kept = {id(row) for row in by_time[-most:]} if most else {id(row) for row in rows}
    return [row for row in rows if id(row) in kept]


def show_tables(rows: Rows, pairs: list[Pair], width: int, columns: list[str]) -> None:
    """The tables on the terminal, with their footnotes."""
    if agreed := tables.constant_line(rows, columns):
        print(errors.one_line(agreed) + "\n")
    print(tables.to_console(tables.rows_table(rows, columns), width))
    for i, note in enumerate(tables.footnotes(rows), 1):
        print(errors.one_line(f"{i}. {note}"))
    if pairs:
        print("\n" + tables.to_console(tables.device_table(pairs), width))


def any_records(options: ReportOptions) -> bool:
    return any(not place.is_dir() or any(place.glob("*.json")) for place in options.places)


if __name__ == "__main__":
    run_cli(main, "bench.report")
