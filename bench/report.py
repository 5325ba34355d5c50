"""Records to a table: `python -m bench.report [FOLDER|FILE...] [--markdown FILE] [--csv FILE]`. No torch here.

A pure function of the records. A record whose arithmetic does not close is refused, by name, and leaves no row. A cell
nobody measured is empty.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from bench.record import RUNS, Record
from bench.refusal import Refusal, answer
from bench.verify import faults


def latency(record: Record, batch: int, percentile: str) -> float | None:
    return next((row[percentile] for row in record.latency if row["batch"] == batch), None)


def share(record: Record, name: str) -> float | None:
    return record.accuracy[name] * 100 if record.accuracy else None


def dataset(record: Record) -> str:
    return record.dataset["name"] + (" (sample)" if record.dataset["is_sample"] else "")


def commit(record: Record) -> str:
    hash_, dirty = record.provenance.get("commit"), record.provenance.get("dirty")
    return (hash_ or "")[:9] + ("+" if dirty else "")


# A column is a row here: its heading, how it is printed, where it comes from. Adding a metric is adding a row.
COLUMNS: dict[str, tuple[str, Callable[[Record], object]]] = {
    "run": ("", lambda r: r.run),
    "dataset": ("", dataset),
    "card": ("", lambda r: r.cell["card"]),
    "cards": ("d", lambda r: r.cell["cards"]),
    "precision": ("", lambda r: r.cell["precision"]),
    "batch": ("d", lambda r: r.cell["batch_per_card"]),
    "images/s": (".1f", lambda r: r.throughput["images_per_s"]),
    "images/s/card": (".1f", lambda r: r.throughput["images_per_s_per_card"]),
    "step p50 ms": (".2f", lambda r: r.throughput["step_p50_ms"]),
    "step p99 ms": (".2f", lambda r: r.throughput["step_p99_ms"]),
    "data wait %": (".2f", lambda r: percent(r.throughput["data_wait_share"])),
    "batch-1 p50 ms": (".2f", lambda r: latency(r, 1, "p50_ms")),
    "batch-1 p99 ms": (".2f", lambda r: latency(r, 1, "p99_ms")),
    "words read %": (".2f", lambda r: share(r, "word_accuracy")),
    "n": ("d", lambda r: r.accuracy["n"] if r.accuracy else None),
    "power W": (".1f", lambda r: r.power and r.power["mean_w"]),
    "status": ("", lambda r: r.status),
    "commit": ("", commit),
}


def percent(value: float | None) -> float | None:
    return None if value is None else value * 100


def record_files(places: list[Path]) -> list[Path]:
    """The record files named, or inside the folders named. Raises Refusal when there are none."""
    files = [file for place in places for file in (sorted(place.glob("*.json")) if place.is_dir() else [place])]
    if not files:
        raise Refusal(f"no records in {', '.join(map(str, places))}: a run script writes one for each run")
    return files


def table(records: list[Record]) -> pd.DataFrame:
    """One row a record, oldest first; cells as printed, empty where nothing was measured."""
    rows = sorted(records, key=lambda r: r.started_utc)
    return pd.DataFrame([{name: cell(read(r), form) for name, (form, read) in COLUMNS.items()} for r in rows])


def cell(value, form: str) -> str:
    return "" if value is None else format(value, form)


def believed(files: list[Path]) -> list[Record]:
    """The records whose arithmetic closes; the others are named on stderr."""
    records = []
    for file in files:
        try:
            record = Record.load(file)
            found = list(faults(record))
        except Refusal as refusal:
            found = [str(refusal)]
        if found:
            print(f"refused {file.name}: {'; '.join(found)}", file=sys.stderr)
        else:
            records.append(record)
    return records


def console(frame: pd.DataFrame, width: int) -> str:
    """The table for a terminal: columns that are empty in every row go; turned on its side where it is too wide."""
    kept = frame[[name for name in frame if (frame[name] != "").any()]]
    flat = kept.to_markdown(index=False, tablefmt="simple", disable_numparse=True)
    if max(map(len, flat.splitlines())) <= width:
        return flat
    return kept.T.to_markdown(headers=[], tablefmt="plain", disable_numparse=True)


def arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="bench.report",
        description="Tabulate records.",
        epilog="example: python -m bench.report results/runs --markdown table.md",
    )
    parser.add_argument("places", nargs="*", type=Path, default=[RUNS], help="folders or files (default: results/runs)")
    parser.add_argument("--markdown", type=Path, help="write the table as Markdown, too")
    parser.add_argument("--csv", type=Path, help="write the table as CSV, too")
    parser.add_argument("--last", type=int, help="only so many of the newest records")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    options = arguments(argv)
    records = sorted(believed(record_files(options.places)), key=lambda r: r.started_utc)
    if not records:
        raise Refusal("no record is left to show")
    frame = table(records[-options.last :] if options.last else records)
    print(console(frame, shutil.get_terminal_size((160, 40)).columns))
    if options.markdown:
        options.markdown.write_text(frame.to_markdown(index=False, disable_numparse=True) + "\n", encoding="utf8")
    if options.csv:
        frame.to_csv(options.csv, index=False)


if __name__ == "__main__":
    answer(main, "bench.report")
