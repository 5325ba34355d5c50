"""Is a measured span steady? Proven from its own steps, not assumed after a fixed warm-up.

Two questions, each asked of the time per image in up to 20 blocks of steps (neighbouring steps are alike, blocks
hardly): does the second half differ from the first, and does a straight line through them climb? Steady means that the
95 % interval of both answers lies within limits: a span too short or too noisy to show that is not steady either. This
is an equivalence test (Schuirmann 1987), with Student's t; the reader need not trust the warm-up.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.judging.statistics import t_quantile
from bench.records.sections import Steady

Floats = NDArray[np.float64]

# Shares of the mean. A straight drift of 10 % from end to end moves the halves 5 % apart: one limit, seen twice.
LIMITS = {"split_half": 0.05, "drift": 0.10}
BLOCKS = 20
FEWEST = 8  # blocks; with fewer the interval says nothing


def steady_reasons(found: Steady) -> list[str]:
    """Why a span is not steady, for a person."""
    if found["verdict"] == "too_short":
        return [f"steady state cannot be shown with fewer than {FEWEST} measured steps"]
    shares = (
        ("split_half", "second half against first", found["split_half_share"], found["split_half_bound_share"]),
        ("drift", "drift over the span", found["drift_share"], found["drift_bound_share"]),
    )
    return [
        f"not shown to be steady: {what} {share:+.1%}, may be as far as {bound:.1%} (limit {LIMITS[name]:.0%})"
        for name, what, share, bound in shares
        if share is not None and bound is not None and bound > LIMITS[name]
    ]


def too_short(blocks: int = 0) -> Steady:
    return {
        "verdict": "too_short", "blocks": blocks, "split_half_share": None, "split_half_bound_share": None,
        "drift_share": None, "drift_bound_share": None, "slope_share_per_min": None,
    }  # fmt: skip


def steady(step_s: Floats, images: NDArray[Any]) -> Steady:
    """The verdict over the steps after the warm-up, in the order they were made: seconds, and images of each.

    Time per image is judged, since the last batch of an epoch is smaller than the others.
    """
    count = min(BLOCKS, len(step_s)) // 2 * 2
    if count < FEWEST:
        return too_short(count)
    blocks = np.array([block.sum() for block in np.array_split(step_s, count)])
    blocks /= [max(1, block.sum()) for block in np.array_split(images, count)]
    blocks /= blocks.mean()
    split, split_bound = split_half(blocks)
    drift, drift_bound = fit_line(blocks)
    held = split_bound <= LIMITS["split_half"] and drift_bound <= LIMITS["drift"]
    return {
        "verdict": "steady" if held else "not_steady",
        "blocks": count,
        "split_half_share": split,
        "split_half_bound_share": split_bound,
        "drift_share": drift,
        "drift_bound_share": drift_bound,
        "slope_share_per_min": drift / (float(np.sum(step_s)) / 60),
    }


def student_t(df: int) -> float:
    """Student's t at 97.5 %, to the three decimals of printed tables, with which every record so far was made."""
    return round(t_quantile(0.975, df), 3)


def split_half(blocks: Floats) -> tuple[float, float]:
    """Difference of the halves' means, and how far from 0 it may be at 95 %."""
    first, second = np.split(blocks, 2)
    error = np.sqrt((first.var(ddof=1) + second.var(ddof=1)) / len(first))
    difference = float(second.mean() - first.mean())
    return difference, abs(difference) + student_t(len(blocks) - 2) * float(error)


def fit_line(blocks: Floats) -> tuple[float, float]:
    """Climb of the least-squares line from the first block to the last, and how far from 0 it may be at 95 %."""
    place = np.linspace(-0.5, 0.5, len(blocks))
    slope = float(place @ blocks / (place @ place))
    left = blocks - blocks.mean() - slope * place
    error = np.sqrt(left @ left / (len(blocks) - 2) / (place @ place))
    return slope, abs(slope) + student_t(len(blocks) - 2) * float(error)
