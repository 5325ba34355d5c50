"""Records for a table: found, read, checked, each once. What is refused is named on stderr with its reason."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from bench.errors import UserError, one_line
from bench.records.record import Record
from bench.reporting.index import Entry, examined
from bench.reporting.rows import Failure


def find_records(paths: list[Path]) -> list[Path]:
    """The record files named, or inside the folders named. Raises UserError when there are none."""
    if missing := [path for path in paths if not path.exists()]:
        raise UserError(f"{missing[0]}: no such file or folder")
    files = [file for path in paths for file in (sorted(path.glob("*.json"), key=str) if path.is_dir() else [path])]
    if not files:
        raise UserError(f"no records in {', '.join(map(str, paths))}: a run script writes one for each run")
    return files


def load_entries(files: list[Path], simulated: bool = False) -> list[Entry]:
    """The records whose arithmetic closes, each once; the others are named on stderr. `simulated`: stand-ins, too."""
    entries: dict[str, Entry] = {}
    series: dict[str, Entry] = {}
    refused: dict[str, list[str]] = {}
    for file, digest, line in examined(files):
        content = json.loads(line)
        entry = None if "refused" in content else Entry(**content, path=str(file), file_sha256=digest)
        reason = content.get("refused") if entry is None else why_not_shown(entry, entries, series, simulated)
        if entry is None or reason:
            refused.setdefault(str(reason), []).append(file.name)
            continue
        entries[entry.record_id] = entry
        if entry.series:
            series[entry.series] = entry
    for why, names in refused.items():
        print(one_line(f"refused {shorten_list(names)}: {why}"), file=sys.stderr)
    return list(entries.values())


def why_not_shown(entry: Entry, known: dict[str, Entry], series: dict[str, Entry], simulated: bool) -> str | None:
    if entry.simulated and not simulated:
        return "a simulated card measured nothing (--simulated shows it all the same)"
    if entry.record_id in known:
        return f"record {entry.record_id[:8]} was read already: two files hold one run"
    if entry.series in series:
        other = series[entry.series]
        return f"its steps are those of record {other.record_id[:8]}, to the last digit: no two runs share a clock"
    return None


def load_valid(files: list[Path], simulated: bool = False) -> list[Record]:
    """The same as whole records."""
    return [entry.record() for entry in load_entries(files, simulated)]


def load_failures(paths: list[Path]) -> list[Failure]:
    """Runs that bench.sweep saw fail, in the folders named."""
    return [Failure.load(file) for path in paths if path.is_dir() for file in sorted(path.glob("*.failure"))]


def shorten_list(names: list[str], most: int = 3) -> str:
    """A few names, and how many more there are."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
