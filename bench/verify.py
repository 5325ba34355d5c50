"""Does a record's arithmetic close? Every derived number is recomputed from the raw series. No torch here.

`python -m bench.verify FILE...` prints what does not hold and exits 1. The reporter refuses a record that fails.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from bench.meter import Series, throughput
from bench.record import Record
from bench.refusal import answer

TOLERANCE = 0.01  # of a derived number against its recomputation; JSON keeps full doubles, so any edit shows


def close(said, recomputed) -> bool:
    if said is None or recomputed is None:
        return said is recomputed
    return math.isclose(said, recomputed, rel_tol=TOLERANCE, abs_tol=1e-9)


def faults(record: Record) -> Iterator[str]:
    """One sentence for each thing that does not hold, naming the field."""
    yield from throughput_faults(record)
    yield from accuracy_faults(record)
    for row in record.latency:
        if not row["p50_ms"] <= row["p90_ms"] <= row["p99_ms"]:
            yield f"latency at batch {row['batch']}: percentiles are out of order"
    if len(record.series) != record.cell["cards"]:
        yield f"cell.cards is {record.cell['cards']}, but {len(record.series)} ranks were measured"


def throughput_faults(record: Record) -> Iterator[str]:
    recomputed = asdict(throughput([Series(**rank) for rank in record.series], record.warmup_steps))
    for field, value in recomputed.items():
        if not close(record.throughput.get(field), value):
            yield f"throughput.{field} is {record.throughput.get(field)}, the raw series give {value}"
    for i, rank in enumerate(record.series):
        if any(wait > step for wait, step in zip(rank["wait_s"], rank["step_s"], strict=True)):
            yield f"rank {i} waited longer for a batch than the whole step took"


def accuracy_faults(record: Record) -> Iterator[str]:
    accuracy = record.accuracy
    if accuracy is None:
        return
    if not close(accuracy["word_accuracy"], accuracy["correct"] / accuracy["n"] if accuracy["n"] else None):
        yield f"accuracy.word_accuracy is {accuracy['word_accuracy']}, not {accuracy['correct']} of {accuracy['n']}"
    if (
        accuracy["split"] == record.dataset["split"]
        and accuracy["n"] + record.dataset["skipped"] != record.dataset["n"]
    ):
        yield (
            f"accuracy.n is {accuracy['n']}, but the split has {record.dataset['n']} pictures, "
            f"{record.dataset['skipped']} of them unreadable"
        )


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="bench.verify",
        description="Recompute every derived number of records from their raw series; exit 1 when one does not hold.",
        epilog="example: python -m bench.verify results/runs/*.json",
    )
    parser.add_argument("files", nargs="+", type=Path, help="record files")
    failed = False
    for path in parser.parse_args(argv).files:
        found = list(faults(Record.load(path)))
        failed |= bool(found)
        print(f"{path}: {'; '.join(found) or 'holds'}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    answer(main, "bench.verify")
