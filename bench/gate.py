"""Is a record worse than the committed baseline of the same card and key? `python -m bench.gate RECORD...`.

Exit code 0 PASS, 1 FAIL, 3 AMBIGUOUS or new (no baseline of this card and key), 2 misuse. A cheap screen: builds
compared in one session (run_scripts/compare.sh) see much smaller changes. No torch here.
"""

from __future__ import annotations

if not __package__:  # `python bench/gate.py`, from any folder: its own is on the path, and not the checkout
    __import__("sys").path.insert(0, __file__.rsplit("/", 2)[0])

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd

from bench.errors import UserError, run_cli
from bench.judging import baselines, ci, noise, verdict
from bench.judging.outcome import Outcome
from bench.judging.policy import FALSE_ALARM, POWER, TOLERANCES, GatedMetric, tolerances
from bench.judging.verdict import EXIT, NEW, Evidence, Finding
from bench.options import Bounds, Choices, Command, Metavar, Positional
from bench.records import cells
from bench.records.record import RUNS, Record
from bench.reporting.load import find_records, load_valid


def compare_with_baseline(
    base: dict[str, Any], group: list[Record], chosen: dict[str, GatedMetric], folder: Path
) -> list[Evidence]:
    """Evidence on each metric that both sides measured: two samples of runs from different sessions."""
    known = noise.load_noise(group[0].cell["card"], folder).get(cells.key(group[0]), {})
    found = []
    for name, tolerance in chosen.items():
        old = base["values"].get(name) or []
        new = [value for value in map(tolerance.read, group) if value is not None]
        if old and new:
            found.append(unpaired_evidence(group[0].run, name, old, new, tolerance, known.get(name)))
    return found


def unpaired_evidence(
    cell: str, metric: str, old: list[float], new: list[float], tolerance: GatedMetric, known: noise.Spread | None
) -> Evidence:
    """The change between two samples. Their own spread tells the noise; with one run a side, the calibration does."""
    zero = [1.0] if not tolerance.absolute else [0.0]
    a, b = (verdict.signed_changes(zero * len(side), side, tolerance) for side in (old, new))
    df = len(a) + len(b) - 2
    if df:
        variance = (a.var() * len(a) + b.var() * len(b)) / df
    elif known:
        variance, df = known.sd**2 / 2, known.pairs - 1  # a pair's change has the variance of two runs
    else:
        return Evidence(cell, metric, float(b.mean() - a.mean()), 0.0, None, len(b), tolerance)
    error = float(np.sqrt(variance * (1 / len(a) + 1 / len(b))))
    return Evidence(cell, metric, float(b.mean() - a.mean()), error, df, len(b), tolerance)


def judge_records(records: list[Record], chosen: dict[str, GatedMetric], folder: Path) -> Outcome:
    evidence, findings, notes = [], [], []
    for group in cells.group_repeats(records):
        first = group[0]
        base = baselines.load_baseline(first, folder)
        if base is None:
            notes.append(f"{first.run} on {first.cell['card']}: {baselines.why_new(first, folder)}")
            findings.append(no_baseline(first, chosen))
        else:
            evidence += compare_with_baseline(base, group, chosen, folder)
    findings += verdict.judge(evidence, looks=1) if evidence else []
    if any(one.df is None for one in evidence):
        notes.append("one run a side says nothing of the noise: repeat the run, or calibrate (compare.sh --calibrate)")
    if not findings:
        notes.append("no metric was measured on both sides")
    return Outcome("records against their baselines", verdict.overall(findings), findings, notes)


def no_baseline(record: Record, chosen: dict[str, GatedMetric]) -> Finding:
    metric = next(iter(chosen))
    return Finding(Evidence(record.run, metric, 0.0, 0.0, None, 0, chosen[metric]), NEW, 0.0, 0.0, "no baseline")


def self_test(sessions: int) -> None:
    """Print the rates on hosts whose truth is known; exit 1 where they are not what the policy promises."""
    from bench.judging.power import HOSTS, run_trials

    frame = pd.DataFrame([run_trials(host, sessions) for host in HOSTS])
    print(f"{sessions} sessions each; promised: false alarms <= {FALSE_ALARM:.0%}, found >= {POWER:.0%}")
    print(frame.to_markdown(index=False, floatfmt=".2f"))
    # Rates of so few trials scatter: 3 standard errors are allowed.
    slack = 3 * np.sqrt(FALSE_ALARM / sessions) * 100, 3 * np.sqrt(POWER * (1 - POWER) / sessions) * 100
    alarms, found = frame["false alarms %"].max(), frame["found %"].min()
    sys.exit(int(alarms > FALSE_ALARM * 100 + slack[0] or found < POWER * 100 - slack[1]))


@dataclass
class GateOptions(ci.CiOptions):
    """Compare records with the committed baseline of the same card and key.

    Exit code 0 PASS, 1 FAIL, 3 AMBIGUOUS or new, 2 misuse.
    """

    places: Annotated[list[Path], Positional("PLACE")] = field(default_factory=lambda: [RUNS])
    """Folders or files"""
    baselines: Annotated[Path, Metavar("FOLDER")] = noise.BASELINES
    promote: bool = False
    """Make these records the baselines of their cells"""
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
        for group in cells.group_repeats(records):
            print(f"baseline: {baselines.store_baseline(group, options.baselines)}")
        return
    outcome = judge_records(records, chosen, options.baselines)
    print(outcome.console())
    ci.publish(outcome, options)
    sys.exit(EXIT[outcome.verdict])


if __name__ == "__main__":
    run_cli(main, "bench.gate")
