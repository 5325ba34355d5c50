"""Change points: where the level of a series of runs changed for good. No torch.

At each place a step is fitted; the best one counts when its t is large, given that neighbouring runs are alike (Newey
and West 1987), Bonferroni over the places, and when it is abrupt: a slow drift is no step. Then binary segmentation
(Vostrikova 1981); where no single step is shown, two at once. A t-test of two segments alone, as in Hunter (arXiv
2301.03034), sees changes in a third of series that are merely autocorrelated, and in all that drift.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from bench.judging.policy import HISTORY_P, TOLERANCES, GatedMetric
from bench.judging.statistics import Floats, t_cdf

EDGE = 3  # runs on either side of a change, at least
SHORTEST = 3 * EDGE
LAGS = 10  # a tenth of a series: how far apart runs may be alike
PLACES = 40  # independent places of a change, at most: neighbouring ones are nearly one
BETTER = 8.0  # a step fits better than a line, by so much in twice its log likelihood
NEAR, ABRUPT, STEEP = (
    40,
    2.3,
    4.0,
)  # runs on either side in which a step must be abrupt: its t, and where a line fits, too


@dataclass(frozen=True)
class Change:
    """The level from run `index` on differs from the one before by `share` (points, of a share), with p-value `p`."""

    index: int
    share: float
    p: float


def fit_steps(values: Floats, places: range) -> tuple[Floats, Floats]:
    """(step, sum of squares that are left) of the least-squares fit of a level and a step at each place."""
    n, at = len(values), np.array(places)
    before = np.cumsum(values)[at - 1]
    step = (values.sum() - before) / (n - at) - before / at
    left = float(((values - values.mean()) ** 2).sum()) - step**2 * at * (n - at) / n
    return step, np.maximum(left, 0.0)


def line_leaves(values: Floats) -> float:
    """The sum of squares that a straight line leaves."""
    place = np.linspace(-1, 1, len(values))
    centred = values - values.mean()
    return float(centred @ centred - (centred @ place) ** 2 / (place @ place))


def abruptness(values: Floats, at: int) -> float:
    """Student's t of the step at a place, in the runs near it, beside a straight line through them: of a drift or a
    slow wave, which look like a step from afar, little is left."""
    first = max(0, at - NEAR)
    near = values[first : at + NEAR]
    n = len(near)
    line = np.linspace(-1, 1, n)
    jump = (np.arange(n) >= at - first).astype(float)
    basis = np.stack([np.full(n, n**-0.5), line / np.linalg.norm(line)])
    jump, left = (one - one @ basis.T @ basis for one in (jump, near))
    step = float(jump @ left / (jump @ jump))
    residuals = left - step * jump
    error = math.sqrt(max(float(residuals @ residuals), 1e-24) / max(1, n - 3) / float(jump @ jump))
    return step / error


def long_run_inflation(residuals: Floats) -> float:
    """By what factor the variance of a mean is larger than if neighbours were independent; never below 1.

    Bartlett's weights over a tenth of the series (Newey and West 1987): days, waves and AR(1) alike.
    """
    n = len(residuals)
    total = float(residuals @ residuals)
    lags = max(2, n // LAGS)
    if not total:
        return 1.0
    likeness = [float(residuals[k:] @ residuals[:-k]) / total for k in range(1, lags)]
    return max(1.0, 1 + 2 * sum((1 - k / lags) * rho for k, rho in enumerate(likeness, 1)))


def strongest_change(values: Floats) -> dict[int, float]:
    """{index: p} of the place where a step explains most; empty where it is not shown, or not abrupt."""
    n = len(values)
    places = range(EDGE, n - EDGE + 1)
    steps, lefts = fit_steps(values, places)
    best = int(np.argmin(lefts))
    at, left = places[best], max(float(lefts[best]), 1e-24)
    p, inflation = shown_changes(values, [at], min(PLACES, len(places)))
    better = n * math.log(line_leaves(values) / left) > BETTER * inflation
    steep = abruptness(values, at) * math.copysign(1.0, float(steps[best])) >= (ABRUPT if better else STEEP)
    return p if steep else {}


def strongest_pair(values: Floats) -> dict[int, float]:
    """The same of two places at once: a fall and the rise after it hide each other from one step."""
    n, sums = len(values), np.concatenate([[0.0], np.cumsum(values)])
    grid = np.arange(EDGE, n - EDGE + 1)
    first, second = (side.ravel() for side in np.meshgrid(grid, grid, indexing="ij"))
    apart = second - first >= EDGE
    first, second = first[apart], second[apart]
    if not len(first):
        return {}
    explained = sums[first] ** 2 / first + (sums[second] - sums[first]) ** 2 / (second - first)
    best = int(np.argmax(explained + (sums[n] - sums[second]) ** 2 / (n - second)))
    places = [int(first[best]), int(second[best])]
    p, _ = shown_changes(values, places, PLACES**3)
    one, other = places
    steep = abruptness(values[:other], one), abruptness(values[one:], other - one)
    return p if all(abs(t) >= ABRUPT for t in steep) else {}


def shown_changes(values: Floats, places: list[int], tried: int) -> tuple[dict[int, float], float]:
    """({place: p}, inflation) of steps between levels; no place where any of them is not shown."""
    edges, n = [0, *places, len(values)], len(values)
    parts = [values[a:b] for a, b in pairwise(edges)]
    residuals = np.concatenate([part - part.mean() for part in parts])
    inflation = long_run_inflation(residuals)
    left = n - len(parts)
    variance = max(float(residuals @ residuals), 1e-24) / left * inflation
    df = max(1, min(left, round(1.5 * LAGS + left / inflation**2)))
    found = {}
    for at, (before, after) in zip(places, pairwise(parts), strict=True):
        t = abs(after.mean() - before.mean()) / math.sqrt(variance * (1 / len(before) + 1 / len(after)))
        found[at] = min(1.0, 2 * t_cdf(-float(t), df) * tried)
    return (found if max(found.values()) <= HISTORY_P else {}), inflation


def split_at_changes(values: Floats, start: int, stop: int) -> dict[int, float]:
    """Change points inside values[start:stop] and their p, by recursion while the test agrees."""
    part = values[start:stop]
    if len(part) < SHORTEST or np.ptp(part) < 1e-12:
        return {}
    points = {start + at: p for at, p in (strongest_change(part) or strongest_pair(part)).items()}
    edges = [start, *points, stop]
    for first, last in pairwise(edges):
        if points:
            points |= split_at_changes(values, first, last)
    return points


def find_changes(series: Sequence[float] | Floats, tolerance: GatedMetric = TOLERANCES["throughput"]) -> list[Change]:
    """Lasting changes of the level of a series, in order, none smaller than the accepted loss."""
    values = np.asarray(series, float) if tolerance.absolute else np.log(np.asarray(series, float))
    points = split_at_changes(values, 0, len(values))
    while points:
        edges = [0, *sorted(points), len(values)]
        found = [
            change_at(values, start, at, stop, points[at], tolerance)
            for start, at, stop in zip(edges, edges[1:], edges[2:], strict=False)
        ]
        small = [change for change in found if abs(change.share) < tolerance.margin]
        if not small:
            return found
        del points[min(small, key=lambda change: abs(change.share)).index]
    return []


def change_at(values: Floats, start: int, at: int, stop: int, p: float, tolerance: GatedMetric) -> Change:
    """The change of level at index `at`, between the segments [start, at) and [at, stop)."""
    moved = float(np.median(values[at:stop]) - np.median(values[start:at]))
    return Change(at, moved if tolerance.absolute else float(np.expm1(moved)), p)
