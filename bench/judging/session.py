"""A paired session: two builds measured in turn on one machine, and the evidence on each metric. No torch here.

A session is stored in its folder and can be continued: what a look may spend of the error rates is counted over all of
them, so that going on until one likes the verdict is paid for.
"""

from __future__ import annotations

import json
import secrets
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from bench.errors import UserError
from bench.files import write_file
from bench.judging import verdict
from bench.judging.order import run_order
from bench.judging.pairs import Build, RunFailed
from bench.judging.policy import LOOKS, GatedMetric, look_share, pairs_at
from bench.judging.verdict import AMBIGUOUS, INCOMPLETE, NEW, Evidence, Finding, unmeasured
from bench.judging.words import accuracy_evidence, word_changes
from bench.records import cells
from bench.records.record import Record

STATE = "session.json"
SIDES = ("base", "candidate")


@dataclass
class PairedSession:
    """Two builds on one machine. `records[run][side]` grows pair by pair."""

    builds: dict[str, Build]
    runs: list[str]
    chosen: dict[str, GatedMetric]
    folder: Path
    options: list[str]
    timeout_s: float
    asked: bool = False  # whether the metrics were named by the user: then each has to be there
    seed: int = field(default_factory=lambda: secrets.randbelow(1 << 31))
    spent: int = 0  # looks that earlier sessions of the same builds took
    looks: int = 0  # that this one took
    records: dict[str, dict[str, list[Record]]] = field(default_factory=dict)
    told: Callable[[PairedSession, int, str], None] = lambda session, pair, side: None  # after each side of a pair
    now: Callable[[], float] = time.monotonic
    turn_s: list[float] = field(default_factory=list)  # how long a side of a pair took, all its runs

    def __post_init__(self) -> None:
        self.records = self.records or {run: {side: [] for side in SIDES} for run in self.runs}

    @property
    def title(self) -> str:
        return " against ".join(self.builds[side].title for side in ("candidate", "base"))

    @property
    def every_record(self) -> list[Record]:
        return [record for sides in self.records.values() for side in sides.values() for record in side]

    @property
    def pairs(self) -> int:
        """Complete ones."""
        return min(len(records) for sides in self.records.values() for records in sides.values())

    @property
    def each_s(self) -> float | None:
        """Seconds for a side of a pair, the median; None before the first."""
        return median(self.turn_s) if self.turn_s else None

    def identity(self) -> dict[str, Any]:
        """What makes two sessions the same question."""
        builds = {side: [self.builds[side].commit, self.builds[side].changes] for side in SIDES}
        margins = {name: tolerance.margin for name, tolerance in self.chosen.items()}
        return {"builds": builds, "runs": self.runs, "options": self.options, "margins": margins}

    def store(self, said: str) -> None:
        """What is needed to go on with it: written after each pair."""
        content = {
            "identity": self.identity(), "seed": self.seed, "looks": self.looks, "spent": self.spent,
            "pairs": self.pairs, "verdict": said, "each_s": self.each_s,
            "names": {side: self.builds[side].name for side in SIDES},
        }  # fmt: skip
        write_file(self.folder / STATE, json.dumps(content, indent=1) + "\n")

    def resume(self, state: dict[str, Any]) -> None:
        """Take up where a stored session of the same builds stopped. Half a pair is measured again."""
        self.seed, self.looks, self.spent = state["seed"], state["looks"], state["spent"]
        for pair in range(state["pairs"]):
            for run in self.runs:
                for side in SIDES:
                    [file] = sorted(self.place(run, pair, side).glob("*.json"))
                    self.records[run][side].append(Record.load(file))

    def place(self, run: str, pair: int, side: str) -> Path:
        return self.folder / run / f"{pair:02}-{side}"

    def run_pairs(self, most: int = len(LOOKS), listen: Callable[[list[Finding]], None] | None = None) -> list[Finding]:
        """Pairs until every verdict is closed, or one is FAIL, or `most` looks are over."""
        findings: list[Finding] = []
        while self.looks < most:
            look = self.looks
            self.extend(self.pairs, pairs_at(look) - self.pairs)
            self.looks += 1
            findings = self.judge()
            self.store(verdict.overall(findings))
            if listen:
                listen(findings)
            if verdict.overall(findings) != AMBIGUOUS:
                break
        return findings

    def judge(self) -> list[Finding]:
        """A verdict on every metric from all pairs so far."""
        share = look_share(self.spent + self.looks - 1)
        evidence, findings = self.evidence()
        return [*verdict.judge(evidence, share), *findings, *self.unlike()]

    def extend(self, first: int, count: int) -> None:
        """Run `count` more pairs of every run, runs in turn."""
        for pair, side in run_order(first, count, self.seed):
            began = self.now()
            for run in self.runs:
                results = self.place(run, pair, side)
                shutil.rmtree(results, ignore_errors=True)  # of half a pair
                self.records[run][side].append(self.measure(run, side, pair, results))
            self.turn_s.append(self.now() - began)
            if self.pairs > pair:
                self.store(AMBIGUOUS)
            self.told(self, pair, side)

    def measure(self, run: str, side: str, pair: int, results: Path) -> Record:
        """A base that does not run leaves nothing to compare with; a candidate that does not run is a result."""
        build = self.builds[side]
        try:
            record = build.measure(run, results, pair + 1, self.options, self.timeout_s)
            if cells.is_failed(record):
                raise RunFailed(f"its record says {record.status}: {'; '.join(record.status_reasons)}")
            return record
        except RunFailed as failure:
            if side == "base":
                raise UserError(f"the base {build.name} does not run {run}: {failure}") from None
            raise

    def evidence(self) -> tuple[list[Evidence], list[Finding]]:
        """(what is known of every metric, what was not measured on both sides)."""
        evidence, findings = [], []
        for run, sides in self.records.items():
            for name, tolerance in self.chosen.items():
                found = metric_evidence(run, name, tolerance, sides["base"], sides["candidate"], self.asked)
                if isinstance(found, Evidence):
                    evidence.append(found)
                elif found:
                    findings.append(found)
        if not evidence and not findings:
            raise UserError(f"no run measured {', '.join(self.chosen)}: there is nothing to compare")
        return evidence, findings

    def unlike(self) -> list[Finding]:
        """What shows that the two sides, or the repeats of one, were not of one configuration and environment."""
        name, tolerance = next(iter(self.chosen.items()))
        found = []
        for run, sides in self.records.items():
            for reason in unlike_records(sides["base"], sides["candidate"]):
                found.append(unmeasured(run, name, tolerance, INCOMPLETE, reason))
        return found

    def unmeasured_metrics(self) -> list[str]:
        """Metrics that are gated by default and that no record has."""
        return [
            f"{run}: {name}"
            for run, sides in self.records.items()
            for name, tolerance in self.chosen.items()
            if not any(tolerance.read(record) is not None for side in sides.values() for record in side)
        ]


def metric_evidence(
    run: str, name: str, tolerance: GatedMetric, base: list[Record], new: list[Record], asked: bool
) -> Evidence | Finding | None:
    """From pairs that both measured; what one side lacks is said. None: one of the default list that neither has."""
    values = [[tolerance.read(record) for record in side] for side in (base, new)]
    known = [sum(value is not None for value in side) for side in values]
    counts = f"measured in {known[0]} of {len(base)} runs of the base and {known[1]} of {len(new)} of the candidate"
    if not known[0] and not known[1]:
        return unmeasured(run, name, tolerance, INCOMPLETE, counts) if asked else None
    if not known[0]:
        return unmeasured(run, name, tolerance, NEW, counts)
    both = [(b, c) for b, c in zip(base, new, strict=True) if None not in (tolerance.read(b), tolerance.read(c))]
    if not both:
        return unmeasured(run, name, tolerance, INCOMPLETE, counts)
    old, fresh = ([value for one in both if (value := tolerance.read(one[i])) is not None] for i in (0, 1))
    changes = verdict.signed_changes(old, fresh, tolerance)
    found = verdict.paired_evidence(run, name, changes, tolerance)
    if name == "accuracy":
        words = word_changes(*([words_read(one[i]) for one in both] for i in (0, 1)))
        found = accuracy_evidence(run, name, changes, words, (both[0][0].accuracy or {}).get("n", 0), tolerance)
    missing = counts if len(both) < len(base) else ""
    return with_levels(found, old, fresh, missing)


def with_levels(found: Evidence, old: list[float], new: list[float], missing: str) -> Evidence:
    return Evidence(**{**vars(found), "levels": (median(old), median(new)), "missing": missing})


def words_read(record: Record) -> list[int]:
    """1 for each word that was read, in the order of the data set; empty where that was not kept."""
    return list(record.accuracy.get("right") or []) if record.accuracy else []


def unlike_records(base: list[Record], new: list[Record]) -> list[str]:
    """Why two sides are not comparable; what the builds themselves change (recipes, options) is theirs to change."""
    reasons = []
    for side, records in zip(SIDES, (base, new), strict=True):
        if len({cells.short_hash(cells.build_of(record)) for record in records}) > 1:
            reasons.append(f"the tree of the {side} changed while it was measured")
    every = [*base, *new]
    in_images = any(record.provenance.get("image_digest") for record in every)
    differ = {name for one in every for name in known_differences(every[0], one, in_images)}
    return [*reasons, *([f"not comparable: {', '.join(sorted(differ))} differ between its runs"] if differ else [])]


def known_differences(one: Record, other: Record, in_images: bool) -> list[str]:
    """Coordinates that both records hold, and differently: an older build does not hold all. An image is a build."""
    parts = []
    for record in (one, other):
        found, where = cells.configuration(record), cells.environment(record)
        if in_images:
            where = {name: where[name] for name in ("card", "cpu", "cpu_cores")}
        parts.append(cells.flatten_names({"cell": found["cell"], "dataset": found["dataset"], "environment": where}))
    mine, theirs = parts
    return [name for name in mine.keys() & theirs.keys() if None not in (mine[name], theirs[name])
            and mine[name] != theirs[name]]  # fmt: skip
