"""What a paired session says while it runs: the plan, the time left, a verdict at each look, the pairs drawn."""

from __future__ import annotations

import numpy as np

from bench.errors import plain
from bench.judging import verdict
from bench.judging.outcome import format_change
from bench.judging.policy import LOOKS, pairs_at
from bench.judging.session import PairedSession
from bench.judging.verdict import AMBIGUOUS, Finding

ACROSS = 61  # characters of a drawing, zero in the middle


def session_plan(session: PairedSession, most: int, each_s: float | None = None) -> str:
    """What will be run, before anything is. `each_s`: what a side of a pair took in an earlier session."""
    first, last = (2 * (pairs_at(look) - session.pairs) for look in (session.looks, most - 1))
    runs = len(session.runs)
    looks = ", ".join(str(pairs_at(look)) for look in range(session.looks, most))
    times = f"about {minutes(first * each_s)} to {minutes(last * each_s)}, as the last time" if each_s else (
        "how long that takes is said after the first run")  # fmt: skip
    lines = [
        f"{session.title}: {', '.join(session.runs)}",
        f"  base {session.builds['base'].title}, candidate {session.builds['candidate'].title}; a fresh process a run",
        f"  {first * runs} to {last * runs} runs; a verdict is sought after {looks} pairs; {times}",
        f"  metrics: {', '.join(f'{n} (accepted loss {t.margin:.1%})' for n, t in session.chosen.items())}",
        "  Ctrl-C stops it, and the same command goes on where it was",
    ]
    return plain("\n".join(lines))


def minutes(seconds: float) -> str:
    """Such as "95 s", "24 min", "3.2 h"."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def told_run(session: PairedSession, pair: int, side: str) -> None:
    """After each side of a pair: its images/s, the time left to the next look, and to the last."""
    look = next(pairs_at(n) for n in range(100) if pairs_at(n) > pair)
    measured = sum(len(records) for records in next(iter(session.records.values())).values())
    each = session.each_s or 0.0
    left, whole = ((2 * count - measured) * each for count in (look, max(look, LOOKS[-1])))
    for run, sides in session.records.items():
        rate = sides[side][-1].throughput.get("images_per_s")
        print(
            f"  pair {pair + 1:2} {side:9} {run}: {rate or 0:.1f} images/s;"
            f" {minutes(left)} to the next verdict, at most {minutes(whole)} in all",
            flush=True,
        )


def look_report(session: PairedSession, findings: list[Finding]) -> str:
    """A verdict so far on every metric, the spread of its pairs, and how many pairs it would take."""
    lines, needed = [f"  after {session.pairs} pairs: {verdict.overall(findings)}"], 0
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
            pairs = verdict.pairs_needed(sd, one.tolerance.loss)
            line += f"; at this spread {margin} needs about {pairs} pairs"
            needed = max(needed, pairs)
        lines.append(line)
    if verdict.overall(findings) == AMBIGUOUS:
        lines.append(f"    {stop_or_go_on(session, needed)}")
    return plain("\n".join(lines))


def stop_or_go_on(session: PairedSession, needed: int) -> str:
    """What going on would cost, and whether it is likely to end the matter."""
    coming, each = pairs_at(session.looks), session.each_s or 0.0
    cost = f"the next verdict is after {coming} pairs, {minutes(2 * (coming - session.pairs) * each)} more"
    if needed <= coming:
        return f"go on: {cost}"
    whole = minutes(2 * (needed - session.pairs) * each)
    return (
        f"stop or go on? {cost}; about {needed} pairs would be {whole} more: a quieter host or --margin may be cheaper"
    )


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
