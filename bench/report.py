"""Records to tables and a page: `python -m bench.report [FOLDER|FILE...] [--html FILE] [--markdown FILE] ...`.

A pure function of the records. A record whose arithmetic does not close is refused, by name, and leaves no row; so is
one that a stand-in for a card made. A cell nobody measured is empty. No torch here.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path

import pandas as pd

from bench import cells
from bench.record import RUNS, Record
from bench.refusal import Refusal, answer
from bench.reporting import text
from bench.reporting.comparisons import Pair, compare
from bench.reporting.rows import COLUMNS, Failure, Row, printed, rows_of, values
from bench.verify import faults


def record_files(places: list[Path]) -> list[Path]:
    """The record files named, or inside the folders named. Raises Refusal when there are none."""
    if missing := [place for place in places if not place.exists()]:
        raise Refusal(f"{missing[0]}: no such file or folder")
    files = [file for place in places for file in (sorted(place.glob("*.json")) if place.is_dir() else [place])]
    if not files:
        raise Refusal(f"no records in {', '.join(map(str, places))}: a run script writes one for each run")
    return files


def believed(files: list[Path], simulated: bool = False) -> list[Record]:
    """The records whose arithmetic closes, each once; the others are named on stderr."""
    records: dict[str, Record] = {}
    for file in files:
        record, reason = examined(file, simulated)
        if record and record.record_id in records:
            reason = f"record {record.record_id[:8]} was read already: two files hold one run"
        if reason:
            print(text.one_line(f"refused {file.name}: {reason}"), file=sys.stderr)
        else:
            records[record.record_id] = record
    return list(records.values())


def examined(file: Path, simulated: bool) -> tuple[Record | None, str]:
    """The record, and why it is refused."""
    try:
        record = Record.load(file)
        found = list(faults(record))
    except Refusal as refusal:
        return None, str(refusal)
    if cells.simulated(record) and not simulated:
        found.append("a simulated card measured nothing (--simulated shows it all the same)")
    return record, "; ".join(found)


def failures(places: list[Path]) -> list[Failure]:
    """Runs that bench.sweep saw fail, in the folders named."""
    return [Failure.load(file) for place in places if place.is_dir() for file in sorted(place.glob("*.failure"))]


def footnotes(rows: list[Row | Failure]) -> list[str]:
    """All notes once, in the order of the rows; a row shows their numbers."""
    return list(dict.fromkeys(note for row in rows for note in notes(row)))


def notes(row: Row | Failure) -> list[str]:
    return [row.reason] if isinstance(row, Failure) else row.notes


def table(rows: list[Row | Failure]) -> pd.DataFrame:
    """One row a cell; cells as printed, empty where nothing was measured; the last column names the footnotes."""
    numbered = {note: str(i) for i, note in enumerate(footnotes(rows), 1)}
    return pd.DataFrame(
        [
            {name: printed(name, value) for name, value in values(row).items()}
            | {"notes": " ".join(numbered[note] for note in notes(row))}
            for row in rows
        ],
        columns=[*COLUMNS, "notes"],
    )


def device_table(pairs: list[Pair]) -> pd.DataFrame:
    """Device against device, one row a pair."""
    return pd.DataFrame(
        {
            "run": f"{pair.one.first.run} / {pair.other.first.run}",
            "batch": str(pair.one.first.cell["batch_per_card"]),
            "card": pair.one.first.cell["card"],
            "images/s": f"{pair.one.rate:.1f}",
            "other card": pair.other.first.cell["card"],
            "its images/s": f"{pair.other.rate:.1f}",
            "ratio": "" if pair.ratio is None else f"{pair.ratio:.3g}",
            "note": pair.note,
        }
        for pair in pairs
    )


def filled(frame: pd.DataFrame) -> pd.DataFrame:
    """Without the columns that are empty in every row."""
    return frame[[name for name in frame if (frame[name] != "").any()]]


def console(frame: pd.DataFrame, width: int) -> str:
    """The table for a terminal: flat where it fits, else on its side, else in parts that repeat the first column."""
    kept = filled(frame).map(text.one_line)
    flat = kept.to_markdown(index=False, tablefmt="simple", disable_numparse=True)
    sideways = kept.T.to_markdown(headers=[], tablefmt="plain", disable_numparse=True)
    for whole in (flat, sideways):
        if max(map(len, whole.splitlines())) <= width:
            return whole
    return "\n\n".join(
        part.to_markdown(index=False, tablefmt="simple", disable_numparse=True) for part in parts(kept, width)
    )


def parts(frame: pd.DataFrame, width: int) -> list[pd.DataFrame]:
    """Columns dealt out so that each part, with the first column in front, is as wide as the terminal at most."""
    widths = {name: max(len(name) + 2, *frame[name].map(len)) + 2 for name in frame}  # tabulate pads headings by 2
    key, *rest = frame
    dealt: list[list[str]] = [[]]
    for name in rest:
        if dealt[-1] and widths[key] + sum(widths[n] for n in [*dealt[-1], name]) > width:
            dealt.append([])
        dealt[-1].append(name)
    return [frame[[key, *names]] for names in dealt]


def markdown(rows: list[Row | Failure], pairs: list[Pair]) -> str:
    """The tables as GitHub shows them, with their footnotes."""
    parts = [filled(table(rows)).map(text.markdown).to_markdown(index=False, disable_numparse=True)]
    parts += [f"{i}. {text.markdown(note)}" for i, note in enumerate(footnotes(rows), 1)]
    if pairs:
        frame = filled(device_table(pairs)).map(text.markdown)
        parts.append("\n" + frame.to_markdown(index=False, disable_numparse=True))
    return "\n".join([parts[0], "", *parts[1:]]).rstrip() + "\n"


def as_json(rows: list[Row | Failure], pairs: list[Pair]) -> str:
    """Full doubles and nulls, for programs."""
    content = {
        "rows": [
            values(row) | {"notes": notes(row), "record_ids": [r.record_id for r in getattr(row, "records", [])]}
            for row in rows
        ],
        "devices": device_table(pairs).to_dict("records"),
    }
    return json.dumps(content, indent=1) + "\n"


def write(options: argparse.Namespace, rows: list[Row | Failure], pairs: list[Pair], records: list[Record]) -> None:
    """Every file asked for."""
    if options.markdown:
        options.markdown.write_text(markdown(rows, pairs), encoding="utf8")
    if options.csv:
        table(rows).map(text.spreadsheet).to_csv(options.csv, index=False)
    if options.json:
        options.json.write_text(as_json(rows, pairs), encoding="utf8")
    if options.html:
        from bench.reporting.page import page  # here, because only this needs jinja2

        options.html.write_text(page(rows, pairs, records, options.baselines), encoding="utf8")
        print(f"page: {options.html}")


def arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="bench.report",
        description="Tabulate records. Repeats of a cell at one commit are one row: median, 95 %% interval, n.",
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
    failed = failures(options.places)
    records = believed(record_files(options.places), options.simulated) if not failed or any_records(options) else []
    rows = rows_of(records, every_commit=options.all_commits)
    if not rows and not failed:
        raise Refusal("no record is left to show")
    pairs = compare(rows)
    rows = [*rows, *failed][-options.last if options.last else 0 :]
    print(console(table(rows), shutil.get_terminal_size((160, 40)).columns))
    for i, note in enumerate(footnotes(rows), 1):
        print(text.one_line(f"{i}. {note}"))
    if pairs:
        print("\n" + console(device_table(pairs), shutil.get_terminal_size((160, 40)).columns))
    write(options, rows, pairs, records)


def any_records(options: argparse.Namespace) -> bool:
    return any(not place.is_dir() or any(place.glob("*.json")) for place in options.places)


if __name__ == "__main__":
    answer(main, "bench.report")
