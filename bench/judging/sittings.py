"""Sittings: runs of one occasion on one machine. No torch here.

Between occasions the level of a machine moves (temperature, neighbours, placement of memory), and repeats of one
occasion say nothing of by how much. So between occasions the sitting, and not the run, is the unit: Student's t on
means of sittings.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import datetime
from statistics import median
from typing import Protocol, TypeVar

import numpy as np

from bench.judging.changes import SHORTEST
from bench.judging.policy import SITTING_GAP_S, GatedMetric
from bench.judging.statistics import Floats
from bench.judging.verdict import Evidence


class Dated(Protocol):
    """A record, or the line of one in an index."""

    @property
    def started_utc(self) -> str: ...
    @property
    def record_id(self) -> str: ...
    @property
    def host(self) -> str: ...


T = TypeVar("T", bound=Dated)


def split_sittings(records: Sequence[T]) -> list[list[T]]:
    """Records by occasion, oldest first: a host, and no longer than SITTING_GAP_S between two beginnings."""
    found: list[list[T]] = []
    open_on: dict[str, list[T]] = {}
    for record in sorted(records, key=lambda one: (one.started_utc, one.record_id)):
        sitting = open_on.get(record.host)
        if sitting is None or seconds_between(sitting[-1], record) > SITTING_GAP_S:
            sitting = open_on[record.host] = []
            found.append(sitting)
        sitting.append(record)
    return found


def history_points(records: Sequence[T], read: Callable[[T], float | None]) -> list[tuple[list[T], float]]:
    """Records and their value over time: of sittings, the median, where they are enough; else of runs."""
    known = [(one, value) for one in records if (value := read(one)) is not None]
    values = {one.record_id: value for one, value in known}
    sittings = split_sittings([one for one, _ in known])
    points = sittings if len(sittings) >= SHORTEST else [[one] for one, _ in known]
    return [(some, median(values[one.record_id] for one in some)) for some in points]


def seconds_between(earlier: Dated, later: Dated) -> float:
    began, ended = (datetime.fromisoformat(one.started_utc) for one in (earlier, later))
    return (ended - began).total_seconds()


def sitting_change(old: Floats, new: Floats, earlier: Sequence[Floats] = ()) -> tuple[Floats, Floats, int]:
    """(estimate, its standard error, degrees of freedom) of new - old, samples of sittings along the last axis.

    Their common variance is pooled, with that of `earlier` builds' sittings. Without degrees of freedom the error is
    NaN.
    """
    samples = [old, new, *earlier]
    df = sum(sample.shape[-1] - 1 for sample in samples)
    squares = sum(sample.var(axis=-1) * sample.shape[-1] for sample in samples)
    error = np.sqrt(squares / max(df, 1) * (1 / old.shape[-1] + 1 / new.shape[-1])) * (1.0 if df else math.nan)
    return new.mean(axis=-1) - old.mean(axis=-1), np.where(error < 1e-12, 0.0, error), df


def level(values: Sequence[float], tolerance: GatedMetric) -> float:
    """A sitting as one number, on the scale of changes, its sign such that less is worse."""
    numbers = np.asarray(values, float)
    return tolerance.better * float((numbers if tolerance.absolute else np.log(numbers)).mean())


Sittings = Sequence[Sequence[float]]  # of one build, each the values of its runs


def sitting_evidence(
    cell: str, metric: str, old: Sittings, new: Sittings, tolerance: GatedMetric, earlier: Sequence[Sittings] = ()
) -> Evidence:
    """The change from sittings of the baseline to sittings of the candidate."""
    before, after, *others = (np.array([level(one, tolerance) for one in side]) for side in (old, new, *earlier))
    estimate, error, df = sitting_change(before, after, others)
    levels = tuple(float(np.median([v for values in side for v in values])) for side in (old, new))
    said = f"{len(old)} + {len(new)} sittings"
    if not df:
        said = "one sitting a side: how far sittings of one build lie apart is not known; promote those of other days"
    return Evidence(
        cell, metric, float(estimate), float(error), df or None, sum(map(len, new)), tolerance,
        levels=(levels[0], levels[1]), said=said,
    )  # fmt: skip
