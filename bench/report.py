"""Records to tables and a page: `python -m bench.report [FOLDER|FILE...] [--html FILE] [--markdown FILE] ...`.

A pure function of the records. A record whose arithmetic does not close is refused, by name, and leaves no row; so is
one that a stand-in for a card made. A cell nobody measured is empty. No torch here.
"""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Annotated

from bench import errors
from bench.errors import UserError, run_cli
from bench.options import Bounds, Command, Metavar, Positional
from bench.records import cells
from bench.records.record import RUNS, Record
from bench.reporting import tables
from bench.reporting.comparisons import Pair, compare
from bench.reporting.rows import Failure, Row, printed, rows_of, values
from bench.verify import faults


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


def record_files(places: list[Path]) -> list[Path]:
    """The record files named, or inside the folders named. Raises UserError when there are none."""
    if missing := [place for place in places if not place.exists()]:
        raise UserError(f"{missing[0]}: no such file or folder")
    files = [file for place in places for file in (sorted(place.glob("*.json")) if place.is_dir() else [place])]
    if not files:
        raise UserError(f"no records in {', '.join(map(str, places))}: a run script writes one for each run")
    return files


def believed(files: list[Path], simulated: bool = False) -> list[Record]:
    """The records whose arithmetic closes, each once; the others are named on stderr."""
    records: dict[str, Record] = {}
    refused: dict[str, list[str]] = {}
    for file in files:
        record, reason = examined(file, simulated)
        if record and record.record_id in records:
            reason = f"record {record.record_id[:8]} was read already: two files hold one run"
        if reason:
            refused.setdefault(reason, []).append(file.name)
        else:
            records[record.record_id] = record
    for reason, names in refused.items():
        print(errors.one_line(f"refused {several(names)}: {reason}"), file=sys.stderr)
    return list(records.values())


def several(names: list[str], most: int = 3) -> str:
    """A few names, and how many more there are."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def examined(file: Path, simulated: bool) -> tuple[Record | None, str]:
    """The record, and why it is refused."""
    try:
        record = Record.load(file)
        found = list(faults(record)) or unshowable(record)
    except UserError as refusal:
        return None, str(refusal).removeprefix(f"{file}: ")
    if not found and cells.simulated(record) and not simulated:
        found.append("a simulated card measured nothing (--simulated shows it all the same)")
    more = f"; and {len(found) - 2} more, which bench.verify names" if len(found) > 2 else ""
    return record, "; ".join(found[:2]) + more


def unshowable(record: Record) -> list[str]:
    """What a table cannot show, although its arithmetic closes."""
    try:
        datetime.fromisoformat(record.started_utc)
        cells.key(record)
        for name, value in values(Row([record])).items():
            printed(name, value)
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        return [f"a section is not as results/README.md says: {type(error).__name__} {error}"]
    return []


def failures(places: list[Path]) -> list[Failure]:
    """Runs that bench.sweep saw fail, in the folders named."""
    return [Failure.load(file) for place in places if place.is_dir() for file in sorted(place.glob("*.failure"))]


def write(options: ReportOptions, rows: list[Row | Failure], pairs: list[Pair], records: list[Record]) -> None:
    """Every file asked for."""
    if options.markdown:
        options.markdown.write_text(tables.markdown(rows, pairs), encoding="utf8")
    if options.csv:
        options.csv.write_text(tables.csv(rows), encoding="utf8")
    if options.json:
        options.json.write_text(tables.as_json(rows, pairs), encoding="utf8")
    if options.html:
        from bench.reporting.page import page  # here, because only this needs jinja2

        options.html.write_text(page(rows, pairs, records, options.baselines), encoding="utf8")
        print(f"page: {options.html}")


def main(argv: list[str] | None = None) -> None:
    options = COMMAND.parse(argv)
    failed = failures(options.places)
    records = believed(record_files(options.places), options.simulated) if not failed or any_records(options) else []
    rows = rows_of(records, every_commit=options.all_commits)
    if not rows and not failed:
        raise UserError("no record is left to show")
    pairs = compare(rows)
    rows = [*rows, *failed][-options.last if options.last else 0 :]
    show(rows, pairs, shutil.get_terminal_size((160, 40)).columns)
    write(options, rows, pairs, records)


def show(rows: list[Row | Failure], pairs: list[Pair], width: int) -> None:
    """The tables on the terminal, with their footnotes."""
    print(tables.console(tables.table(rows), width))
    for i, note in enumerate(tables.footnotes(rows), 1):
        print(errors.one_line(f"{i}. {note}"))
    if pairs:
        print("\n" + tables.console(tables.device_table(pairs), width))


def any_records(options: ReportOptions) -> bool:
    return any(not place.is_dir() or any(place.glob("*.json")) for place in options.places)


if __name__ == "__main__":
    run_cli(main, "bench.report")
