"""The rules that a record must keep before it is believed. Derived numbers are recomputed from the raw series."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from bench.errors import UserError
from bench.judging.statistics import wilson_interval
from bench.records import cells, schema
from bench.records.derive import derived_sections
from bench.records.rates import after_warmup, step_durations
from bench.records.record import FAILURES, Record
from bench.records.run_name import RunName
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
WILSON = 1e-6  # the bounds were written by another version of numpy or with z to another digit
# Relative errors of a product over 256 terms and a convolution over 576: 3e-7 in float32, 3e-4 in TF32 and float16,
# 2.4e-3 in bfloat16; each with room for another order of sums.
LARGEST_ERROR = {"FP32": 1e-5, "TF32": 2e-3, "AMP": 1e-2, "BF16": 1e-2}
SAME_ANSWERS = 0.98  # a card may decide a tie otherwise in another batch
CHEAPEST_REPEAT, SHORTEST_MS = 0.6, 2.0  # of a new batch's time; shorter differences are the clock's
WINDOWS = 0.10  # share by which windows and steps may differ, checkpoints between them included


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
    if not all(isinstance(one, int | float) and not isinstance(one, bool) for one in (stored, recomputed)):
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
    # A stand-in's "cards" share this host's cores, and its ceiling is whatever was left of them at the time.
    simulated = cells.is_simulated_card(record)
    roof = not simulated and record.efficiency and record.efficiency["roofline_images_per_s"]
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


def wrong_counts(record: Record) -> Iterator[str]:
    """Intervals, parts and lists of words that do not follow from the counts."""
    accuracy = record.accuracy
    if accuracy is None or not 0 <= accuracy["correct"] <= accuracy["n"]:
        return
    n, correct = accuracy["n"], accuracy["correct"]
    bounds = wilson_interval(correct, n)
    for name, bound in zip(("word_accuracy_low", "word_accuracy_high"), bounds, strict=True):
        stored = accuracy.get(name)
        if isinstance(stored, float) and not math.isclose(stored, bound, abs_tol=WILSON):
            yield f"accuracy.{name} is {stored}, {correct} of {n} give {bound:.6g}"
    if (right := accuracy.get("right")) and (len(right), sum(right)) != (n, correct):
        yield f"accuracy.right says {sum(right)} of {len(right)}, the counts {correct} of {n}"
    for name in ("sets", "by_length"):
        parts: list[dict[str, Any]] = accuracy.get(name) or []  # type: ignore[assignment]  # of either name
        if parts and (sum(one["n"] for one in parts), sum(one["correct"] for one in parts)) != (n, correct):
            yield f"accuracy.{name} does not add up to {correct} of {n}"


def contradicting_evidence(record: Record) -> Iterator[str]:
    """What the name of a run, its cell, and the evidence of its precision say of one another."""
    cell, name = record.cell, RunName.parse(record.run)
    if name.task != record.task:
        yield f"run is {record.run}, task is {record.task}"
    if name.device:
        named = {"device": name.device, "cards": name.cards, "precision": name.precision, "model": name.recipe}
        yield from (f"run is {record.run}, cell.{k} is {cell.get(k)}" for k, v in named.items() if cell.get(k, v) != v)
    evidence = record.precision_evidence
    if cell.get("precision") == "FP32":
        wrong = [switch for switch, value in evidence.items() if "tf32" in switch and value is True]
        wrong += [k for k in ("autocast_dtype", "recurrent_dtype") if evidence.get(k, "float32") != "float32"]
        wrong += ["float32_matmul_precision"] * (evidence.get("float32_matmul_precision", "highest") != "highest")
        yield from (f"cell.precision is FP32, precision_evidence.{switch} is {evidence[switch]}" for switch in wrong)


def failed_audits(record: Record) -> Iterator[str]:
    """What the audits found: another precision than named, other answers, answers that were kept."""
    audit: dict[str, Any] = dict(record.audit or {})
    most = LARGEST_ERROR.get(record.cell.get("precision", ""), math.inf)
    for kind in ("product", "convolution"):
        error = audit.get(f"{kind}_error")
        if isinstance(error, float) and error > most:
            yield f"audit: a {kind} in {record.cell['precision']} is wrong by {error:.2g}, no more than {most:g} can be"
    kept, same = audit.get("timed_n", 0), audit.get("timed_same", 0)
    if same < SAME_ANSWERS * kept:
        yield f"audit: {same} of {kept} answers of timed passes are those that were scored"
    repeated, new = float(audit.get("repeated_ms") or 0.0), float(audit.get("new_ms") or 0.0)
    if repeated and repeated < CHEAPEST_REPEAT * new and new - repeated > SHORTEST_MS:
        yield f"audit: what was read before takes {repeated:.4g} ms, new images {new:.4g} ms: answers are kept"


def wrong_windows(record: Record) -> Iterator[str]:
    """Telemetry of other times than those of the steps; a run that is yet to begin."""
    measured_s = record.phases_s.get("measured_s") or 0.0
    for samples in record.samples if measured_s and record.status not in FAILURES else []:
        length = math.fsum(end - begin for begin, end in samples.get("windows") or [])
        if length and abs(length - measured_s) > WINDOWS * measured_s + 1.0:
            yield f"samples of rank {samples['rank']}: windows of {length:.6g} s, steps of {measured_s:.6g} s"
    began = datetime.fromisoformat(record.started_utc)
    if began.timestamp() > time.time() + 86400:
        yield f"started_utc is {record.started_utc}, which is yet to come"


RULES = (
    wrong_derivations, inconsistent_rates, means_above_percentiles, wrong_accuracy, wrong_counts,
    contradicting_evidence, failed_audits, wrong_windows,
)  # fmt: skip
