"""The order of the runs of a paired session: at random, as often AB as BA, and in step with no load. No torch here.

A fixed order (AB BA AB BA) has a period of 4 runs, and takes a load of that period for a change of the code. So does,
now and then, one that is merely random: of the 20 balanced orders of 6 pairs two are AB BA AB BA AB BA. Hence orders
are drawn from those that follow no sine wave of any period: by their R², as a periodogram has it.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

from bench.judging.policy import LOOKS, MORE
from bench.judging.statistics import Floats

DRAWN, KEPT = 6000, 300  # orders of which the best are kept, a pool to draw from
ANGLES = 48  # frequencies, and phases, that are tried
Flips = NDArray[np.bool_]


def follows_waves(signs: Floats) -> Floats:
    """(orders,): the largest R² between an order of ±1, along the last axis, and any sine wave of its length."""
    n = signs.shape[-1]
    frequency = np.linspace(0.02, 1.0, ANGLES)[:, None, None] * np.pi
    phase = np.linspace(0, np.pi, ANGLES, endpoint=False)[None, :, None]
    waves = np.cos(frequency * np.arange(n) + phase).reshape(-1, n)
    waves /= np.maximum(np.linalg.norm(waves, axis=1, keepdims=True), 1e-9)
    best = np.zeros(len(signs))
    for part in np.array_split(waves, 16):  # a few megabytes at a time
        np.maximum(best, ((signs @ part.T) ** 2).max(axis=1) / n, out=best)
    return best


@cache
def order_pool(looks: tuple[int, ...] = LOOKS) -> Flips:
    """(orders, pairs): which pairs begin with the candidate, half of them between any two looks."""
    random = np.random.default_rng(20)
    blocks = np.diff((0, *looks)).tolist()
    drawn = np.concatenate([random.permuted(np.tile(np.arange(n) % 2, (DRAWN, 1)), axis=1) for n in blocks], axis=1)
    drawn = np.unique(drawn, axis=0)
    worst = np.max([follows_waves(2.0 * drawn[:, :look] - 1) for look in looks], axis=0)
    kept: Flips = drawn[np.argsort(worst, kind="stable")[:KEPT]] == 1
    return kept


def candidate_first(random: np.random.Generator, sessions: int, looks: tuple[int, ...] = LOOKS) -> Flips:
    """(sessions, pairs): an order for each session."""
    pool = order_pool(looks)
    chosen: Flips = pool[random.integers(len(pool), size=sessions)]
    return chosen


def run_order(first: int, count: int, seed: int) -> list[tuple[int, str]]:
    """(pair, side) in the order in which runs happen, from pair `first` on; the same again for the same seed."""
    begin, looks = (0, LOOKS) if first < LOOKS[-1] else (first - (first - LOOKS[-1]) % MORE, (MORE,))
    [flips] = candidate_first(np.random.default_rng([seed, begin]), 1, looks)
    sides = (("base", "candidate"), ("candidate", "base"))
    wanted = flips[first - begin : first - begin + count].tolist()
    return [(first + i, side) for i, flip in enumerate(wanted) for side in sides[flip]]
