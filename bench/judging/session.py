"""A paired session: two builds measured in turn on one machine, and the evidence on each metric. No torch here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.errors import UserError
from bench.judging import verdict
from bench.judging.pairs import Build, RunFailed, run_order
from bench.judging.policy import GatedMetric
from bench.judging.verdict import AMBIGUOUS, Evidence, Finding
from bench.records.record import Record


@dataclass
class PairedSession:
    """Two builds on one machine. `records[run][side]` grows pair by pair."""

    builds: dict[str, Build]
    runs: list[str]
    chosen: dict[str, GatedMetric]
    folder: Path
    options: list[str]
    timeout_s: float
    records: dict[str, dict[str, list[Record]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.records = {run: {"base": [], "candidate": []} for run in self.runs}

    @property
    def title(self) -> str:
        return " against ".join(self.builds[side].title for side in ("candidate", "base"))

    @property
    def every_record(self) -> list[Record]:
        return [record for sides in self.records.values() for side in sides.values() for record in side]

    def run_pairs(self, looks: Sequence[int]) -> list[Finding]:
        """Pairs until every verdict is closed, or one is FAIL, or the last look is over."""
        done = 0
        for look in looks:
            self.extend(done, look - done)
            done = look
            findings = verdict.judge(self.evidence(), len(looks))
            if verdict.overall(findings) != AMBIGUOUS:
                break
        return findings

    def extend(self, first: int, count: int) -> None:
        """Run `count` more pairs of every run, runs in turn."""
        for pair, side in run_order(first, count):
            for run in self.runs:
                record = self.measure(run, side, pair, self.folder / run / f"{pair:02}-{side}")
                self.records[run][side].append(record)
                rate = record.throughput.get("images_per_s")
                print(f"  pair {pair + 1:2} {side:9} {run}: {rate or 0:.1f} images/s", flush=True)

    def measure(self, run: str, side: str, pair: int, results: Path) -> Record:
        """A base that does not run leaves nothing to compare with; a candidate that does not run is a result."""
        build = self.builds[side]
        try:
            return build.measure(run, results, pair + 1, self.options, self.timeout_s)
        except RunFailed as failure:
            if side == "base":
                raise UserError(f"the base {build.name} does not run {run}: {failure}") from None
            raise

    def evidence(self) -> list[Evidence]:
        """What is known now of every metric that both sides measured in every pair."""
        found = []
        for run, sides in self.records.items():
            for name, tolerance in self.chosen.items():
                pairs = [(tolerance.read(b), tolerance.read(c)) for b, c in zip(*sides.values(), strict=True)]
                complete = [(base, new) for base, new in pairs if base is not None and new is not None]
                if pairs and len(complete) == len(pairs):
                    changes = verdict.signed_changes([b for b, _ in complete], [c for _, c in complete], tolerance)
                    found.append(verdict.paired_evidence(run, name, changes, tolerance))
        if not found:
            raise UserError(f"no run measured {', '.join(self.chosen)}: there is nothing to compare")
        return found
