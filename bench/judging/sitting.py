"""Two builds on one machine in one go: who ran when, and what is known of each change. No torch here."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from bench.errors import UserError
from bench.judging import verdict
from bench.judging.pairs import Build, RunFailed, order
from bench.judging.policy import Tolerance
from bench.judging.verdict import Evidence
from bench.records.record import Record


@dataclass
class Sitting:
    """Both builds on one machine in one go. `records[run][side]` grows pair by pair."""

    builds: dict[str, Build]
    runs: list[str]
    chosen: dict[str, Tolerance]
    folder: Path
    options: list[str]
    timeout_s: float
    records: dict[str, dict[str, list[Record]]] = field(default_factory=dict)

    def __post_init__(self):
        self.records = {run: {"base": [], "candidate": []} for run in self.runs}

    def extend(self, first: int, count: int) -> None:
        """Run so many more pairs of every cell, cells in turn."""
        for pair, side in order(first, count):
            for run in self.runs:
                place = self.folder / run / f"{pair:02}-{side}"
                record = self.measure(run, side, pair, place)
                self.records[run][side].append(record)
                rate = record.throughput.get("images_per_s")
                print(f"  pair {pair + 1:2} {side:9} {run}: {rate or 0:.1f} images/s", flush=True)

    def measure(self, run: str, side: str, pair: int, place: Path) -> Record:
        """A base that does not run makes the question senseless; a candidate that does not is an answer."""
        build = self.builds[side]
        try:
            return build.measure(run, place, pair + 1, self.options, self.timeout_s)
        except RunFailed as failure:
            if side == "base":
                raise UserError(f"the base {build.name} does not run {run}: {failure}") from None
            raise

    def evidence(self) -> list[Evidence]:
        """What is known now of every metric that both sides measured in every pair."""
        found = []
        for run, sides in self.records.items():
            for name, tolerance in self.chosen.items():
                base, candidate = ([tolerance.read(r) for r in sides[side]] for side in ("base", "candidate"))
                if None not in base + candidate:
                    changes = verdict.signed(base, candidate, tolerance)
                    found.append(verdict.paired(run, name, changes, tolerance))
        if not found:
            raise UserError(f"no run measured {', '.join(self.chosen)}: there is nothing to compare")
        return found

    def unsteady(self) -> int:
        return sum(r.status != "ok" for sides in self.records.values() for side in sides.values() for r in side)
