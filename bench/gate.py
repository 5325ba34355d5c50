"""Is a record worse than the committed baseline of its configuration and environment? `python -m bench.gate RECORD...`.

Exit code 0 PASS, 1 FAIL, 3 AMBIGUOUS or new (nothing to compare with), 4 INCOMPLETE (a promoted cell or metric is
missing, or a record is of no use), 2 misuse. A cheap screen: builds compared in one session (run_scripts/compare.sh)
see much smaller changes. No torch here.
"""

from __future__ import annotations

if not __package__:  # `python bench/gate.py`, from any folder: its own is on the path, and not the checkout
    __import__("sys").path.insert(0, __file__.rsplit("/", 2)[0])

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

from bench.errors import UserError, run_cli
from bench.judging import baselines, ci, noise, verdict
from bench.judging.baselines import Baseline
from bench.judging.outcome import Outcome
from bench.judging.policy import TOLERANCES, GatedMetric, tolerances
from bench.judging.session import words_read
from bench.judging.sittings import Sittings, sitting_evidence, split_sittings
from bench.judging.verdict import EXIT, FAIL, INCOMPLETE, NEW, Evidence, Finding
from bench.judging.words import accuracy_evidence, word_changes
from bench.options import Bounds, Choices, Command, Metavar, Positional
from bench.records import cells
from bench.records.record import RUNS, Record
from bench.reporting.load import find_records, load_valid

MORE_SITTINGS = (
    "neither was shown: --promote baselines of more days, and measure on another day; or compare both builds in one"
    " session, which sees much smaller changes: bash run_scripts/compare.sh BASE CANDIDATE RUN_NAME"
)


def compare_with_baseline(
    base: Baseline, group: list[Record], chosen: dict[str, GatedMetric], asked: bool
) -> Iterator[Evidence | Finding]:
    """On each metric that either side measured, and on each that was asked for."""
    run, sittings = group[0].run, split_sittings(group)
    for name, tolerance in chosen.items():
        values = [[v for v in map(tolerance.read, sitting) if v is not None] for sitting in sittings]
        new, old, known = [v for v in values if v], base.values(name), sum(map(len, values))
        counts = f"the baseline has {sum(map(len, old))} values, and {known} of {len(group)} records have one"
        if not old and not new:
            if asked:
                yield verdict.unmeasured(run, name, tolerance, INCOMPLETE, counts)
        elif not old or not new:
            yield verdict.unmeasured(run, name, tolerance, INCOMPLETE if old else NEW, counts)
        elif name == "accuracy" and base.weights != cells.weights_digest(group[0]):
            yield verdict.unmeasured(run, name, tolerance, NEW, "not comparable: it is of other weights")
        else:
            found = (
                words_evidence(base, group, old, new, tolerance)
                if name == "accuracy" and len({v for side in (*old, *new) for v in side}) <= 2
                else None
            )
            found = found or sitting_evidence(run, name, old, new, tolerance, base.earlier(name))
            yield replace(found, missing=counts if known < len(group) else "")


def words_evidence(
    base: Baseline, group: list[Record], old: Sittings, new: Sittings, tolerance: GatedMetric
) -> Evidence | None:
    """Of accuracy that every repeat of a side agrees on: the words that one side reads and the other does not."""
    sides = [{value for values in side for value in values} for side in (old, new)]
    if any(len(side) > 1 for side in sides):
        return None
    before, after = (side.pop() for side in sides)
    words = word_changes([base.words], [words_read(group[-1])])
    n = (group[-1].accuracy or {}).get("n", 0)
    changes = verdict.signed_changes([before], [after], tolerance)
    found = accuracy_evidence(group[0].run, "accuracy", changes, words, n, tolerance)
    return replace(found, n=len(group), levels=(before, after))


def judge_records(
    records: list[Record], chosen: dict[str, GatedMetric], folder: Path, asked: bool = False, partial: bool = False
) -> Outcome:
    """The newest build of each cell against its baseline. What is of no use is refused by name, and is no pass."""
    evidence: list[Evidence] = []
    findings, notes = list(refused(records, chosen)), []
    for group in newest_builds([record for record in records if not cells.unfit(record)]):
        first = group[0]
        base = baselines.load_baseline(first, folder)
        if base is None:
            notes.append(f"{first.run} on {first.cell['card']}: {baselines.why_new(first, folder)}")
            findings.append(verdict.unmeasured(first.run, next(iter(chosen)), *no_baseline(chosen)))
            continue
        for found in compare_with_baseline(base, group, chosen, asked):
            evidence.append(found) if isinstance(found, Evidence) else findings.append(found)
    findings += verdict.judge(evidence)
    for base in baselines.unmeasured_baselines(records, folder):
        said = f"{base.run} on {base.card} has a baseline ({base.path.name}) and was not measured"
        if partial:
            notes.append(said)
        else:
            findings.append(verdict.unmeasured(base.run, *next(iter(chosen.items())), INCOMPLETE, said))
    if not findings:
        notes.append("no metric was measured on both sides")
    return Outcome("records against their baselines", verdict.overall(findings), findings, notes, MORE_SITTINGS)


def refused(records: list[Record], chosen: dict[str, GatedMetric]) -> Iterator[Finding]:
    """A run that failed is FAIL; other records of no use leave the verdict INCOMPLETE."""
    name, tolerance = next(iter(chosen.items()))
    for record in records:
        if reason := cells.unfit(record):
            said = FAIL if cells.is_failed(record) else INCOMPLETE
            yield verdict.unmeasured(record.run, name, tolerance, said, f"record {record.record_id[:8]}: {reason}")


def newest_builds(records: list[Record]) -> list[list[Record]]:
    """Of each cell the repeats of the build that was measured last."""
    newest: dict[str, list[Record]] = {}
    for group in sorted(cells.group_repeats(records), key=lambda group: group[-1].started_utc):
        newest[cells.speed_key(group[0])] = group
    return list(newest.values())


def no_baseline(chosen: dict[str, GatedMetric]) -> tuple[GatedMetric, str, str]:
    return next(iter(chosen.values())), NEW, "no baseline"


def promote(records: list[Record], folder: Path) -> None:
    """Make records the baselines of their cells. Raises UserError, and stores nothing, where one is of no use."""
    if useless := [f"{r.run} {r.record_id[:8]}: {why}" for r in records if (why := cells.unfit(r))]:
        raise UserError(f"not promoted: {'; '.join(useless)}")
    for group in newest_builds(records):
        path = baselines.store_baseline(group, folder)
        base, _ = baselines.read_baseline(path)
        print(f"baseline: {path}, {len(base.accepted)} sittings of this commit")
        if len(base.accepted) + len(base.earlier("throughput")) < 2:
            print("  one sitting shows nothing of how far sittings lie apart: promote runs of another day, too")


def self_test(sessions: int) -> None:
    """Print the rates on noise whose truth is known; exit 1 where they are not what the policy promises."""
    from bench.judging import power

    tables = {
        f"two builds in one session, {sessions} sessions a row": power.session_table(sessions),
        "the size that is advertised": power.advertised_table(sessions),
        f"records against baselines, {sessions} gates a row": power.baseline_table(sessions),
        f"history, {sessions} series of 200 runs a row": power.history_table(sessions),
    }
    for title, frame in tables.items():
        print(f"{title}\n\n{frame.to_markdown(index=False, floatfmt='.2f')}\n")
    broken = power.broken_promises(list(tables.values()), sessions)
    print("\n".join(f"NOT KEPT: {promise}" for promise in broken) or "every promise is kept")
    sys.exit(int(bool(broken)))


@dataclass
class GateOptions(ci.CiOptions):
    """Compare the newest records with the committed baselines of their configuration and environment.

    Exit code 0 PASS, 1 FAIL, 3 AMBIGUOUS or new, 4 INCOMPLETE, 2 misuse.
    """

    places: Annotated[list[Path], Positional("PLACE")] = field(default_factory=lambda: [RUNS])
    """Folders or files"""
    baselines: Annotated[Path, Metavar("FOLDER")] = noise.BASELINES
    promote: bool = False
    """Make these records the baselines of their cells, or add them as another sitting of the same commit"""
    partial: bool = False
    """Cells that have a baseline and were not measured are meant to be left out"""
    metrics: Annotated[list[str] | None, Choices(tuple(TOLERANCES)), Metavar("METRIC")] = None
    """Judge by these only"""
    margin: Annotated[list[str], Metavar("METRIC=SHARE")] = field(default_factory=list)
    """A loss that is accepted"""
    self_test: bool = False
    """Try the gate on synthetic sessions and print its rates"""
    sittings: Annotated[int, Bounds(1)] = 2000
    """Of the self-test, for each host"""


COMMAND = Command("bench.gate", GateOptions, "results/runs/CRNN_FP32_1CPU_Infer.*.json")


def main(argv: list[str] | None = None) -> None:
    options = COMMAND.parse(argv)
    if options.self_test:
        self_test(options.sittings)
    chosen = tolerances(options.metrics, options.margin)
    records = load_valid(find_records(options.places))
    if not records:
        raise UserError("no record is left to judge")
    if options.promote:
        promote(records, options.baselines)
        return
    outcome = judge_records(records, chosen, options.baselines, bool(options.metrics), options.partial)
    print(outcome.console())
    ci.publish(outcome, options)
    sys.exit(EXIT[outcome.verdict])


if __name__ == "__main__":
    run_cli(main, "bench.gate")
