"""What changed: each row against the build measured before it, and against its baseline. No torch here.

Runs of one sitting are compared run by run; otherwise sittings are the unit, as in bench.gate, so that another day is
not taken for another build.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench.errors import UserError
from bench.judging import baselines, verdict
from bench.judging.policy import TOLERANCES
from bench.judging.sittings import Sittings, sitting_evidence, split_sittings
from bench.judging.verdict import Evidence, Finding
from bench.records import cells
from bench.reporting.index import Entry
from bench.reporting.rows import Row, by_time

METRIC = "throughput"
MOST_NAMED = 3  # differences
TOLERANCE = TOLERANCES[METRIC]


def sittings_of(entries: Sequence[Entry]) -> Sittings:
    found = [[e.values[METRIC] for e in sitting if METRIC in e.values] for sitting in split_sittings(entries)]
    return [values for values in found if values]


def compare_builds(old: Sequence[Entry], new: Sequence[Entry], earlier: Sequence[Sequence[Entry]]) -> Finding | None:
    """The change from one build to another; None where one of them measured nothing."""
    before, after = sittings_of(old), sittings_of(new)
    if not before or not after:
        return None
    if len(split_sittings([*old, *new])) == 1:
        runs = [[[value] for values in side for value in values] for side in (before, after)]
        return judged(sitting_evidence(new[0].run, METRIC, runs[0], runs[1], TOLERANCE))
    known = [values for some in earlier if len(values := sittings_of(some)) > 1]
    return judged(sitting_evidence(new[0].run, METRIC, before, after, TOLERANCE, known))


def judged(evidence: Evidence) -> Finding:
    [found] = verdict.judge([evidence])
    return found


def fill_in_changes(rows: list[Row], entries: Sequence[Entry], folder: Path) -> None:
    """Into every row: against the build that was measured before it, and against the baseline."""
    known: dict[str, dict[str, list[Entry]]] = {}
    for entry in by_time(entries):
        if not entry.failed:
            known.setdefault(entry.speed_key, {}).setdefault(entry.build, []).append(entry)
    mine = {entry.record_id: entry for entry in entries}
    for row in rows:
        own = [mine[record.record_id] for record in row.records if record.record_id in mine]
        if not own or own[0].failed:
            continue
        builds = list(known[own[0].speed_key].values())  # in the order in which each was first measured
        place = next(i for i, build in enumerate(builds) if build[0].build == own[0].build)
        row.history = [entry for build in builds for entry in build]
        if not place and (other := in_another_environment(own[0], entries)):
            row.notes.append(other)
        if place:
            row.previous = compare_builds(builds[place - 1], own, builds[: place - 1])
            row.previous_commit = (builds[place - 1][0].commit or "no commit")[:9]
        row.baseline = against_baseline(row, own, folder)


def in_another_environment(first: Entry, entries: Sequence[Entry]) -> str | None:
    """Why the first build of an environment has nothing before it, where the configuration was measured elsewhere."""
    others = [
        one for one in by_time(entries)
        if one.configuration == first.configuration and one.speed_key != first.speed_key and not one.failed
        and one.started_utc < first.started_utc
    ]  # fmt: skip
    if not others:
        return None
    mine, theirs = (cells.flatten_names(cells.environment(one.record())) for one in (first, others[-1]))
    differ = [
        f"{name.rpartition('.')[2]} {theirs.get(name)} there, {mine.get(name)} here"
        for name in sorted(mine.keys() | theirs.keys())
        if mine.get(name) != theirs.get(name)
    ]
    more = f" and {len(differ) - MOST_NAMED} more" if len(differ) > MOST_NAMED else ""
    commit = (others[-1].commit or "no commit")[:9]
    return f"not comparable with commit {commit}, measured before: {'; '.join(differ[:MOST_NAMED])}{more}"


def against_baseline(row: Row, own: Sequence[Entry], folder: Path) -> Finding | None:
    try:
        base = baselines.load_baseline(row.first, folder)
    except UserError as broken:
        row.notes.append(str(broken))
        return None
    new = sittings_of(own)
    if base is None or not new or not base.values(METRIC):
        return None
    return judged(sitting_evidence(row.first.run, METRIC, base.values(METRIC), new, TOLERANCE, base.earlier(METRIC)))
