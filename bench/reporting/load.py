"""Records for a table: found, read, checked, each once. What is refused is named on stderr with its reason."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path

from bench.errors import UserError, one_line
from bench.records import cells
from bench.records.checks import validation_errors
from bench.records.record import Record
from bench.reporting.rows import Failure, Row, cell_values, format_cell


def find_records(paths: list[Path]) -> list[Path]:
    """The record files named, or inside the folders named. Raises UserError when there are none."""
    if missing := [path for path in paths if not path.exists()]:
        raise UserError(f"{missing[0]}: no such file or folder")
    files = [file for path in paths for file in (sorted(path.glob("*.json")) if path.is_dir() else [path])]
    if not files:
        raise UserError(f"no records in {', '.join(map(str, paths))}: a run script writes one for each run")
    return files


def load_valid(files: list[Path], simulated: bool = False) -> list[Record]:
    """The records whose arithmetic closes, each once; the others are named on stderr. `simulated`: stand-ins, too."""
    records: dict[str, Record] = {}
    refused: dict[str, list[str]] = {}
    for file in files:
        try:
            record = validate(file, simulated)
            if record.record_id in records:
                raise UserError(f"record {record.record_id[:8]} was read already: two files hold one run")
            records[record.record_id] = record
        except UserError as reason:
            refused.setdefault(str(reason).removeprefix(f"{file}: "), []).append(file.name)
    for why, names in refused.items():
        print(one_line(f"refused {shorten_list(names)}: {why}"), file=sys.stderr)
    return list(records.values())


def validate(file: Path, simulated: bool) -> Record:
    """The record in a file. Raises UserError with what is wrong with it."""
    record = Record.load(file)
    errors = validation_errors(record) or display_errors(record)
    if not errors and cells.is_simulated_card(record) and not simulated:
        errors.append("a simulated card measured nothing (--simulated shows it all the same)")
    if errors:
        more = f"; and {len(errors) - 2} more, which bench.verify names" if len(errors) > 2 else ""
        raise UserError("; ".join(errors[:2]) + more)
    return record


def display_errors(record: Record) -> list[str]:
    """What a table cannot show, although its arithmetic closes."""
    try:
        datetime.fromisoformat(record.started_utc)
        cells.key(record)
        for name, value in cell_values(Row([record])).items():
            format_cell(name, value)
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        return [f"a section is not as results/README.md says: {type(error).__name__} {error}"]
    return []


def load_failures(paths: list[Path]) -> list[Failure]:
    """Runs that bench.sweep saw fail, in the folders named."""
    return [Failure.load(file) for path in paths if path.is_dir() for file in sorted(path.glob("*.failure"))]


def shorten_list(names: list[str], most: int = 3) -> str:
    """A few names, and how many more there are."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
