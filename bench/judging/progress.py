"""What a paired session says while it runs: the plan, the time left, a verdict at each look, the pairs drawn."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from bench.errors import plain
from bench.judging import verdict
from bench.judging.outcome import format_change
from bench.judging.policy import LOOKS, pairs_at
from bench.judging.session import PairedSession
from bench.judging.verdict import AMBIGUOUS, Finding

ACROSS = 61  # characters of a drawing, zero in the middle


def session_plan(session: PairedSession, most: int) -> str:
    """What will be run, before anything is."""
    first, last = pairs_at(session.looks), pairs_at(most - 1)
    each = 2 * len(session.runs)
    looks = ", ".join(str(pairs_at(look)) for look in range(session.looks, most))
    lines = [
        f"{session.title}: {', '.join(session.runs)}",
        f"  {(first - session.pairs) * each} to {(last - session.pairs) * each} runs; a verdict is sought after"
        f" {looks} pairs",
        f"  metrics: {', '.join(f'{n} (accepted loss {t.margin:.1%})' for n, t in session.chosen.items())}",
    ]
    return plain("\n".join(lines))


@dataclass
class Clock:
    """Says after each run how it went and how long it takes to the next look and to the end."""

    now: Callable[[], float]
    began: float | None = None
    done: int = 0
    said: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.began = self.now()

    def told(self, session: PairedSession, pair: int, side: str) -> None:
        self.done += 1
        each = (self.now() - (self.began or 0.0)) / self.done
        look = next(pairs_at(n) for n in range(100) if pairs_at(n) > pair)
        measured = sum(len(records) for records in next(iter(session.records.values())).values())
        left = max(0, 2 * look - measured) * each
        whole = max(0, 2 * LOOKS[-1] - measured) * each
        for run, sides in session.records.items():
            rate = sides[side][-1].throughput.get("images_per_s")
            print(
                f"  pair {pair + 1:2} {side:9} {run}: {rate or 0:.1f} images/s;"
                f" {left / 60:.0f} min to the next verdict, at most {max(left, whole) / 60:.0f} in all",
                flush=True,
            )


def look_report(session: PairedSession, findings: list[Finding]) -> str:
    """A verdict so far on every metric, the spread of its pairs, and how many pairs it would take."""
    lines = [f"  after {session.pairs} pairs: {verdict.overall(findings)}"]
    for found in findings:
        one = found.evidence
        if one.df is None or one.n < 2:
            lines.append(f"    {one.cell} {one.metric}: {found.verdict} {found.reason}")
            continue
        sd = one.error * one.n**0.5
        margin = f"{one.tolerance.margin * 100:g}" + (" points" if one.tolerance.absolute else " %")
        change = format_change(one.estimate, one)
        line = f"    {one.cell} {one.metric}: {found.verdict}, {change}, pairs spread by {sd:.2%}"
        if found.verdict == AMBIGUOUS:
            line += f"; at this spread {margin} needs about {verdict.pairs_needed(sd, one.tolerance.loss)} pairs"
        lines.append(line)
    return plain("\n".join(lines))


def pair_changes_of(session: PairedSession, run: str, metric: str) -> list[float]:
    """The change of each pair in which both sides were measured, negative is worse."""
    tolerance, sides = session.chosen[metric], session.records[run]
    both = [(tolerance.read(b), tolerance.read(c)) for b, c in zip(sides["base"], sides["candidate"], strict=False)]
    known = [(b, c) for b, c in both if b is not None and c is not None]
    return verdict.signed_changes([b for b, _ in known], [c for _, c in known], tolerance).tolist() if known else []


def draw_pairs(session: PairedSession) -> str:
    """Every pair as a mark on a line, worse to the left; | is no change, ( the accepted loss."""
    lines = []
    for run in session.runs:
        metric = next(iter(session.chosen))
        changes = pair_changes_of(session, run, metric)
        if not changes:
            continue
        loss = session.chosen[metric].loss
        reach = max(2 * loss, float(np.max(np.abs(changes))) * 1.05)
        lines.append(f"{run} {metric}, change of each pair: from {-reach:+.1%} to {reach:+.1%}, worse to the left")
        for pair, change in enumerate(changes, 1):
            cells = [" "] * ACROSS
            cells[ACROSS // 2], cells[place(-loss, reach)] = "|", "("
            cells[place(change, reach)] = "o"
            lines.append(f"  {pair:3} {''.join(cells)} {change:+.2%}")
    return plain("\n".join(lines))


def place(change: float, reach: float) -> int:
    return round((change / reach + 1) / 2 * (ACROSS - 1))
