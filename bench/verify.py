"""Does a record's arithmetic close? Every derived number is recomputed from the raw series. No torch here.

`python -m bench.verify FILE...` prints what does not hold and exits 1. The reporter refuses a record that fails.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from bench.errors import UserError, one_line, run_cli
from bench.options import Command, Positional
from bench.records.derive import derived
from bench.records.record import FAILURES, Record
from bench.records.schema import unknown

# Derived numbers are recomputed from the very doubles they were made of; other versions of numpy may add in another
# order.
SAME = 1e-9
ARITHMETIC = 0.01  # between numbers that different clocks or rounds of measuring gave
# FLOPs are counted as if convolutions were done plainly. Winograd's F(2x2, 3x3) needs 2.25 times fewer multiplications
# (Lavin and Gray 2015), so that an honest run may pass a ceiling made of matrix products, by so much at most.
SLACK = 2.25
NAME, COUNT = str, int
KINDS = {  # of what tables are made and sorted by
    "cell": {"model": NAME, "device": NAME, "card": NAME, "precision": NAME, "cards": COUNT, "hosts": COUNT}
    | {"batch_per_card": COUNT, "global_batch": COUNT},
    "latency": {"batch": COUNT},
    "dataset": {"name": NAME, "split": NAME, "n": COUNT, "skipped": COUNT},
    "provenance": {"commit": (NAME, type(None)), "dirty": (bool, type(None)), "device_versions": (dict, type(None))},
}


def faults(record: Record) -> list[str]:
    """One sentence for each thing that does not hold, naming the cell. Empty: the record can be believed."""
    try:
        found = [*edited(record), *undescribed(record), *mistyped(record)]
        broken = list(series_faults(record))
        return found + (broken or [*(fault for rule in RULES for fault in rule(record))])
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        return [f"a section is not as results/README.md says: {type(error).__name__} {error}"]


def edited(record: Record) -> Iterator[str]:
    """Cells that are not what the program wrote; where one is derived, `derived_faults` says what it should be."""
    for name in record.altered:
        yield "the record has no seal" if name == "seal" else f"{name} was edited after the record was written"


def mistyped(record: Record) -> Iterator[str]:
    """Names that are no text, counts that are no numbers: a table could not even be sorted by them."""
    for section, fields in KINDS.items():
        content = getattr(record, section)
        for row in content if isinstance(content, list) else [content]:
            for name in fields.keys() & row.keys():
                if not isinstance(row[name], fields[name]):
                    yield f"{section}.{name} is {str(row[name])[:40]!r}"


def undescribed(record: Record) -> Iterator[str]:
    for name in sorted(unknown(record.body())):
        yield f"{name} is no field of this schema"


def series_faults(record: Record) -> Iterator[str]:
    """Raw series that cannot be."""
    ranks = len(record.series)
    if ranks != record.cell["cards"] and record.status not in FAILURES:
        yield f"cell.cards is {record.cell['cards']}, but {ranks} ranks were measured"
    for i, rank in enumerate(record.series):
        if len({len(rank[name]) for name in ("step_s", "wait_s", "images")}) > 1:
            yield f"series of rank {i} are of different lengths"
        elif any(wait > step for wait, step in zip(rank["wait_s"], rank["step_s"], strict=True)):
            yield f"rank {i} waited longer for a batch than the whole step took"
        if any(time < 0 for time in rank["step_s"] + rank["wait_s"]):
            yield f"rank {i} has a step of negative time"


def derived_faults(record: Record) -> Iterator[str]:
    """Cells that the raw series contradict."""
    for section, value in derived(record).items():
        yield from differences(section, getattr(record, section), value)


def differences(name: str, said, recomputed) -> Iterator[str]:
    """Leaves of two JSON values that differ, by name."""
    if isinstance(said, dict) and isinstance(recomputed, dict):
        for key in said.keys() | recomputed.keys():
            yield from differences(f"{name}.{key}", said.get(key), recomputed.get(key))
    elif isinstance(said, list) and isinstance(recomputed, list) and len(said) == len(recomputed):
        for i, pair in enumerate(zip(said, recomputed, strict=True)):
            yield from differences(f"{name}[{i}]", *pair)
    elif not same(said, recomputed):
        yield f"{name} is {said}, the raw series give {recomputed}"


def same(said, recomputed) -> bool:
    if isinstance(said, bool | str | None) or isinstance(recomputed, bool | str | None):
        return said == recomputed
    return math.isclose(said, recomputed, rel_tol=SAME, abs_tol=SAME)


def arithmetic_faults(record: Record) -> Iterator[str]:
    """What must hold between cells, whatever the raw series say."""
    rates, cell = record.throughput, record.cell
    if rates.get("images_per_s") is None:
        return
    if cell["global_batch"] != cell["cards"] * cell["batch_per_card"]:
        yield f"cell.global_batch is {cell['global_batch']}, not {cell['cards']} x {cell['batch_per_card']}"
    most = cell["global_batch"] / rates["step_mean_ms"] * 1e3
    full = all(set(rank["images"][record.warmup_steps :]) == {cell["batch_per_card"]} for rank in record.series)
    if rates["images_per_s"] > most * (1 + ARITHMETIC) or (full and rates["images_per_s"] < most * (1 - ARITHMETIC)):
        yield (
            f"throughput.images_per_s is {rates['images_per_s']:.6g}, but {cell['cards']} cards x"
            f" {cell['batch_per_card']} pictures / {rates['step_mean_ms']:.6g} ms give {most:.6g}"
        )
    total_s = record.phases_s.get("total_s")
    if total_s and record.phases_s["measured_s"] > total_s * (1 + ARITHMETIC):
        yield f"phases_s.measured_s is {record.phases_s['measured_s']:.6g}, longer than the whole run ({total_s:.6g})"
    roof = (record.efficiency or {}).get("roofline_images_per_s")
    if roof and rates["images_per_s"] > roof * SLACK:
        yield f"throughput.images_per_s is {rates['images_per_s']:.6g}, above what the cards can do ({roof:.6g})"


def order_faults(record: Record) -> Iterator[str]:
    """A mean above the 99th percentile: a few stalls decide it, and the row says nothing of the card."""
    rows = [("throughput", record.throughput, "step_")]
    rows += [(f"latency at batch {row['batch']}", row, "") for row in record.latency]
    for name, row, prefix in rows:
        mean, p99 = row.get(f"{prefix}mean_ms"), row.get(f"{prefix}p99_ms")
        if mean is not None and mean > p99 * (1 + SAME):
            yield f"{name}: the mean ({mean:.6g} ms) is above the 99th percentile ({p99:.6g} ms)"


def accuracy_faults(record: Record) -> Iterator[str]:
    accuracy, data = record.accuracy, record.dataset
    if accuracy is None:
        return
    if not 0 <= accuracy["correct"] <= accuracy["n"]:
        yield f"accuracy.correct is {accuracy['correct']}, of {accuracy['n']}"
    low, high = accuracy.get("word_accuracy_low"), accuracy.get("word_accuracy_high")
    if low is not None and not low <= accuracy["word_accuracy"] <= high:
        yield f"accuracy.word_accuracy is {accuracy['word_accuracy']}, outside its own interval {low}..{high}"
    if accuracy["split"] == data["split"] and accuracy["n"] + data["skipped"] != data["n"]:
        yield (
            f"accuracy.n is {accuracy['n']}, but the split has {data['n']} pictures, "
            f"{data['skipped']} of them unreadable"
        )


RULES = (derived_faults, arithmetic_faults, order_faults, accuracy_faults)


def judged(path: Path) -> list[str]:
    """Faults of a file, an unreadable one included."""
    try:
        return faults(Record.load(path))
    except UserError as refusal:
        return [str(refusal).removeprefix(f"{path}: ")]


@dataclass
class VerifyOptions:
    """Recompute every derived number of records from their raw series; exit 1 when one does not hold."""

    files: Annotated[list[Path], Positional("FILE")]
    """Record files"""


COMMAND = Command("bench.verify", VerifyOptions, "results/runs/*.json")


def main(argv: list[str] | None = None) -> None:
    failed = False
    for path in COMMAND.parse(argv).files:
        found = judged(path)
        failed |= bool(found)
        print(one_line(f"{path}: {'; '.join(found) or 'holds'}"))
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    run_cli(main, "bench.verify")
