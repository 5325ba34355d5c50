"""The rules that a record must keep before it is believed. Derived numbers are recomputed from the raw series."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.errors import UserError
from bench.records import schema
from bench.records.derive import derived_sections
from bench.records.rates import after_warmup, step_durations
from bench.records.record import FAILURES, Record
from bench.records.series import Series

# Derived numbers are recomputed from the very doubles they were made of; other versions of numpy may add in another
# order.
SAME = 1e-9
ARITHMETIC = 0.01  # between numbers that different clocks or rounds of measuring gave
CLOCKS = 0.02  # between the device's clock and the host's, over a whole run that both timed
# FLOPs are counted as if convolutions were done plainly. Winograd's F(4x4, 3x3) needs 4 times fewer multiplications
# (Lavin and Gray 2015), so that an honest run with it may pass a ceiling made of matrix products, by so much at most.
WINOGRAD_SAVING = 4.0
# Up to schema 3 Winograd was a CPU's default without being named, and the uncertainty of a ceiling was not kept: such
# records keep the rule they were made under, the saving of F(2x2, 3x3).
SLACK_OF_SCHEMA_3 = 2.25


def validation_errors(record: Record) -> list[str]:
    """One sentence for each thing that does not hold, naming the field. Empty: the record can be believed."""
    try:
        content = {name: getattr(record, name) for name in schema.TOP}
        found = [*edited_fields(record), *undeclared_fields(content), *schema.mistyped(content)]
        broken = list(impossible_series(record))
        return found + (broken or [error for rule in RULES for error in rule(record)])
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        return [f"a section is not as results/README.md says: {type(error).__name__} {error}"]


def validate_file(path: Path) -> list[str]:
    """The validation errors of a file, an unreadable one included."""
    try:
        return validation_errors(Record.load(path))
    except UserError as refusal:
        return [str(refusal).removeprefix(f"{path}: ")]


def edited_fields(record: Record) -> Iterator[str]:
    """Fields that are not what the program wrote; where one is derived, `wrong_derivations` says what it should be."""
    for name in record.altered:
        yield "the record has no seal" if name == "seal" else f"{name} was edited after the record was written"


def undeclared_fields(content: dict[str, Any]) -> Iterator[str]:
    for name in sorted(schema.undeclared(content)):
        yield f"{name} is no field of this schema"


def impossible_series(record: Record) -> Iterator[str]:
    """Raw series that cannot be."""
    ranks = len(record.series)
    if ranks != record.cell["cards"] and record.status not in FAILURES:
        yield f"cell.cards is {record.cell['cards']}, but {ranks} ranks were measured"
    for i, rank in enumerate(record.series):
        if len({len(rank["step_s"]), len(rank["wait_s"]), len(rank["images"])}) > 1:
            yield f"series of rank {i} are of different lengths"
        elif any(wait > step for wait, step in zip(rank["wait_s"], rank["step_s"], strict=True)):
            yield f"rank {i} waited longer for a batch than the whole step took"
        if any(time < 0 for time in rank["step_s"] + rank["wait_s"] + rank.get("device_step_s", [])):
            yield f"rank {i} has a step of negative time"
        clocked, wall = math.fsum(rank.get("device_step_s", [])), math.fsum(rank["step_s"])
        complete = len(rank.get("device_step_s", [])) == len(rank["step_s"])
        if clocked and complete and abs(clocked - wall) > CLOCKS * wall + 0.01:
            yield f"rank {i}: its device's steps add up to {clocked:.6g} s, and the host saw {wall:.6g} s"


def wrong_derivations(record: Record) -> Iterator[str]:
    """Fields that the raw series contradict."""
    for section, value in derived_sections(record).items():
        yield from unequal_leaves(section, getattr(record, section), value)


def unequal_leaves(name: str, stored: Any, recomputed: Any) -> Iterator[str]:
    """Leaves of two JSON values that differ, by name."""
    if isinstance(stored, dict) and isinstance(recomputed, dict):
        for key in stored.keys() | recomputed.keys():
            yield from unequal_leaves(f"{name}.{key}", stored.get(key), recomputed.get(key))
    elif isinstance(stored, list) and isinstance(recomputed, list) and len(stored) == len(recomputed):
        for i, pair in enumerate(zip(stored, recomputed, strict=True)):
            yield from unequal_leaves(f"{name}[{i}]", *pair)
    elif not is_same(stored, recomputed):
        yield f"{name} is {stored}, the raw series give {recomputed}"


def is_same(stored: Any, recomputed: Any) -> bool:
    if isinstance(stored, bool | str | None) or isinstance(recomputed, bool | str | None):
        return bool(stored == recomputed)
    return math.isclose(stored, recomputed, rel_tol=SAME, abs_tol=SAME)


def inconsistent_rates(record: Record) -> Iterator[str]:
    """What must hold between fields, independent of the raw series."""
    rates, cell = record.throughput, record.cell
    images_per_s, step_ms = rates.get("images_per_s"), rates.get("step_mean_ms")
    if images_per_s is None or step_ms is None:
        return
    if cell["global_batch"] != cell["cards"] * cell["batch_per_card"]:
        yield f"cell.global_batch is {cell['global_batch']}, not {cell['cards']} x {cell['batch_per_card']}"
    most = cell["global_batch"] / step_ms * 1e3
    full = all(set(rank["images"][record.warmup_steps :]) == {cell["batch_per_card"]} for rank in record.series)
    if images_per_s > most * (1 + ARITHMETIC) or (full and images_per_s < most * (1 - ARITHMETIC)):
        yield (
            f"throughput.images_per_s is {images_per_s:.6g}, but {cell['cards']} cards x"
            f" {cell['batch_per_card']} images / {step_ms:.6g} ms give {most:.6g}"
        )
    total_s, measured_s = record.phases_s.get("total_s"), record.phases_s.get("measured_s") or 0.0
    if total_s and measured_s > total_s * (1 + ARITHMETIC):
        yield f"phases_s.measured_s is {measured_s:.6g}, longer than the whole run ({total_s:.6g})"
    roof = record.efficiency and record.efficiency["roofline_images_per_s"]
    if roof and images_per_s > roof * allowed_over_roof(record):
        yield f"throughput.images_per_s is {images_per_s:.6g}, above what the cards can do ({roof:.6g})"


def allowed_over_roof(record: Record) -> float:
    """By what factor an honest run may pass the roofline: the ceiling is a measurement, with an uncertainty.

    A run with `--kernels winograd`, which its row names, may pass it by what that algorithm saves, too.
    """
    if record.schema_version <= 3:
        return SLACK_OF_SCHEMA_3
    saving = WINOGRAD_SAVING if record.cell.get("kernels") == "winograd" else 1.0
    return saving * (1 + ARITHMETIC + max(card.get("gemm_spread_share", 0.0) for card in record.limits))


def means_above_percentiles(record: Record) -> Iterator[str]:
    """A mean above the 99th percentile: a few stalls decide it, and the row does not describe the card."""
    rates = record.throughput
    ranks = [after_warmup(Series(**rank), record.warmup_steps) for rank in record.series]
    times = step_durations(ranks[rates["slowest_rank"] or 0]) if rates.get("measured_steps") else None
    rows = [("throughput", None if times is None else float(times.mean()) * 1e3, rates.get("step_p99_ms"))]
    rows += [(f"latency at batch {row['batch']}", row.get("mean_ms"), row.get("p99_ms")) for row in record.latency]
    for name, mean, p99 in rows:
        if mean is not None and p99 is not None and mean > p99 * (1 + SAME):
            yield f"{name}: the mean ({mean:.6g} ms) is above the 99th percentile ({p99:.6g} ms)"


def wrong_accuracy(record: Record) -> Iterator[str]:
    accuracy, data = record.accuracy, record.dataset
    if accuracy is None:
        return
    if not 0 <= accuracy["correct"] <= accuracy["n"]:
        yield f"accuracy.correct is {accuracy['correct']}, of {accuracy['n']}"
    share, low, high = accuracy["word_accuracy"], accuracy.get("word_accuracy_low"), accuracy.get("word_accuracy_high")
    if low is not None and (share is None or high is None or not low - SAME <= share <= high + SAME):
        yield f"accuracy.word_accuracy is {share}, outside its own interval {low}..{high}"
    read = accuracy["n"] + accuracy.get("left_out", 0)
    if accuracy["split"] == data["split"] and read + data["skipped"] != data["n"]:
        yield (
            f"accuracy.n is {accuracy['n']}, but the split has {data['n']} images, {data['skipped']} of them unreadable"
        )


RULES = (wrong_derivations, inconsistent_rates, means_above_percentiles, wrong_accuracy)
