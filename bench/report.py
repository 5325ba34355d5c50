"""Records to tables and a page: `python -m bench.report [FOLDER|FILE...] [--html FILE] [--markdown FILE] ...`.

A pure function of the records. A record whose arithmetic does not close is refused, by name, and leaves no row; so is
one that a stand-in for a card made. A cell nobody measured is empty. No torch here.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

from bench import errors
from bench.errors import UserError, run_cli
from bench.files import write_file
from bench.records.record import RUNS, Record
from bench.reporting import tables
from bench.reporting.comparisons import Pair, compare_rows
from bench.reporting.load import find_records, load_failures, load_valid
from bench.reporting.page import render_page
from bench.reporting.rows import Failure, Row, Rows, make_rows


def write_files(options: argparse.Namespace, rows: Rows, pairs: list[Pair], records: list[Record]) -> None:
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


def arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="bench.report",
        description="Tabulate records. Repeats of a cell at one commit are one row: median, 95 % interval, n.",
        epilog="example: python -m bench.report results/runs --html report.html",
    )
    parser.add_argument("places", nargs="*", type=Path, default=[RUNS], help="folders or files (default: results/runs)")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write one page with tables and charts, too")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables as Markdown, too")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write the table as CSV, too")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the tables as JSON, too")
    parser.add_argument("--all-commits", action="store_true", help="a row for every commit, not for a cell's newest")
    parser.add_argument("--last", type=int, metavar="N", help="only the newest N rows")
    parser.add_argument("--baselines", type=Path, default=RUNS.parent / "baselines", help="drawn in the history")
    parser.add_argument("--simulated", action="store_true", help="show records of simulated cards, too")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    options = arguments(argv)
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


def any_records(options: argparse.Namespace) -> bool:
    return any(not place.is_dir() or any(place.glob("*.json")) for place in options.places)


if __name__ == "__main__":
    run_cli(main, "bench.report")
