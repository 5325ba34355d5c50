"""Change points: where the level of a series of runs changed for good. No torch.

E-divisive (Matteson and James, JASA 109, 2014) with Student's t-test in place of its permutations, on windows, as in
Hunter (Fleming et al., arXiv 2301.03034; apache/otava): deterministic, and it finds small lasting changes that a
threshold on single runs cannot. Otava itself is not used, for the chat and database clients it brings along.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bench.judging.policy import HISTORY_P, HISTORY_WINDOW, TOLERANCES, GatedMetric
from bench.judging.statistics import Floats, t_test


@dataclass(frozen=True)
class Change:
    """The level from run `index` on differs from the one before by `share` (points, of a share), with p-value `p`."""

    index: int
    share: float
    p: float


def divergence(values: Floats) -> Floats:
    """The energy statistic Q of a split before each index 1..n-1 (alpha = 1); larger is more different."""
    n = len(values)
    distance = np.abs(values[:, None] - values[None, :])
    inside = np.cumsum(np.cumsum(distance, 0), 1)
    splits = np.arange(1, n)
    left = inside[splits - 1, splits - 1]
    right = inside[-1, -1] - 2 * inside[splits - 1, -1] + left
    across = inside[splits - 1, -1] - left
    m, k = splits, n - splits
    with np.errstate(invalid="ignore", divide="ignore"):
        within: Floats = np.where(m > 1, left / (m * (m - 1)), 0) + np.where(k > 1, right / (k * (k - 1)), 0)
    statistic: Floats = m * k / n * (2 * across / (m * k) - within)
    return statistic


def split_at_changes(values: Floats, start: int, stop: int) -> list[int]:
    """Change points inside values[start:stop], by recursion while the test agrees."""
    if stop - start < 4:
        return []
    at = start + 1 + int(np.argmax(divergence(values[start:stop])))
    if t_test(values[start:at], values[at:stop]) > HISTORY_P:
        return []
    return [*split_at_changes(values, start, at), at, *split_at_changes(values, at, stop)]


def find_changes(series: Sequence[float], tolerance: GatedMetric = TOLERANCES["throughput"]) -> list[Change]:
    """Lasting changes of the level of a series, in order, none smaller than the accepted loss."""
    values = np.asarray(series, float) if tolerance.absolute else np.log(np.asarray(series, float))
    points: set[int] = set()
    for start in range(0, max(1, len(values) - HISTORY_WINDOW // 2), HISTORY_WINDOW // 2):  # windows overlap by half
        points |= set(split_at_changes(values, start, min(len(values), start + HISTORY_WINDOW)))
    return drop_weak_changes(values, sorted(points), tolerance)


def drop_weak_changes(values: Floats, points: list[int], tolerance: GatedMetric) -> list[Change]:
    """Without the points whose segments on either side do not differ significantly; the weakest goes first."""
    while points:
        edges = [0, *points, len(values)]
        found = [
            change_at(values, start, at, stop, tolerance)
            for start, at, stop in zip(edges, points, edges[2:], strict=False)
        ]
        weak = [c for c in found if c.p > HISTORY_P or abs(c.share) < tolerance.margin]
        if not weak:
            return found
        points = [point for point in points if point != max(weak, key=lambda c: c.p).index]
    return []


def change_at(values: Floats, start: int, at: int, stop: int, tolerance: GatedMetric) -> Change:
    """The change of level at index `at`, between the segments [start, at) and [at, stop)."""
    left, right = values[start:at], values[at:stop]
    moved = float(np.median(right) - np.median(left))
    return Change(at, moved if tolerance.absolute else float(np.expm1(moved)), t_test(left, right))
