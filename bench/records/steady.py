"""Is a measured span steady? Proven from its own steps, not assumed after a fixed warm-up.

Three questions, each asked of the time per image in up to 20 blocks of steps (neighbouring steps are alike, blocks
hardly): does the second half differ from the first, does a straight line through them climb, and do quarters differ, as
when the middle was disturbed? Steady means that the 95 % interval of all answers lies within limits: a span too short
or too noisy to show that is not steady either. This is an equivalence test (Schuirmann 1987), with Student's t; the
reader need not trust the warm-up.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.judging.statistics import t_quantile
from bench.records.record import SCHEMA_VERSION
from bench.records.sections import Steady

Floats = NDArray[np.float64]

# Shares of the mean. A straight drift of 10 % from end to end moves the halves 5 % apart: one limit, seen twice.
LIMITS = {"split_half": 0.05, "drift": 0.10, "quarters": 0.05}
BLOCKS = 20
FEWEST = 8  # blocks; with fewer the interval says nothing
QUARTERS_SINCE = 5  # schema from which on quarters are compared and the rate's own uncertainty is kept
FIRST_FIELDS = ("verdict", "blocks", "split_half_share", "split_half_bound_share", "drift_share", "drift_bound_share",
                "slope_share_per_min")  # fmt: skip


def steady_reasons(found: Steady) -> list[str]:
    """Why a span is not steady, for a person."""
    if found["verdict"] == "too_short":
        return [f"steady state cannot be shown with fewer than {FEWEST} measured steps"]
    shares = (
        ("split_half", "second half against first", found["split_half_share"], found["split_half_bound_share"]),
        ("drift", "drift over the span", found["drift_share"], found["drift_bound_share"]),
        ("quarters", "quarters that differ", found.get("quarters_share"), found.get("quarters_bound_share")),
    )
    return [
        f"not shown to be steady: {what} {share:+.1%}, may be as far as {bound:.1%} (limit {LIMITS[name]:.0%})"
        for name, what, share, bound in shares
        if share is not None and bound is not None and bound > LIMITS[name]
    ]


def too_short(blocks: int = 0, version: int = SCHEMA_VERSION) -> Steady:
    names = Steady.__annotations__ if version >= QUARTERS_SINCE else FIRST_FIELDS
    return Steady(**{**dict.fromkeys(names), "verdict": "too_short", "blocks": blocks})  # type: ignore[typeddict-item]


def steady(step_s: Floats, images: NDArray[Any], version: int = SCHEMA_VERSION) -> Steady:
    """The verdict over the steps after the warm-up, in the order they were made: seconds, and images of each.

    Time per image is judged, since the last batch of an epoch is smaller than the others. `version` is the record's:
    until 4 only halves and a line were looked at.
    """
    count = min(BLOCKS, len(step_s)) // 2 * 2
    if count < FEWEST:
        return too_short(count, version)
    blocks = np.array([block.sum() for block in np.array_split(step_s, count)])
    blocks /= [max(1, block.sum()) for block in np.array_split(images, count)]
    blocks /= blocks.mean()
    split, split_bound = split_half(blocks)
    drift, drift_bound = fit_line(blocks)
    quarters, quarters_bound = compare_quarters(blocks)
    held = split_bound <= LIMITS["split_half"] and drift_bound <= LIMITS["drift"]
    found: Steady = {
        "verdict": "steady" if held else "not_steady",
        "blocks": count,
        "split_half_share": split,
        "split_half_bound_share": split_bound,
        "drift_share": drift,
        "drift_bound_share": drift_bound,
        "slope_share_per_min": drift / (float(np.sum(step_s)) / 60),
    }
    if version < QUARTERS_SINCE:
        return found
    if quarters_bound > LIMITS["quarters"]:
        found["verdict"] = "not_steady"
    return {
        **found,
        "quarters_share": quarters,
        "quarters_bound_share": quarters_bound,
        "rate_bound_share": student_t(count - 1) * float(blocks.std(ddof=1)) / math.sqrt(count),
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


def compare_quarters(blocks: Floats) -> tuple[float, float]:
    """What a comparison of halves does not see: the inner half against the outer, and every other quarter.

    The larger difference of the two, and how far from 0 either may be at 95 %.
    """
    quarter = np.arange(len(blocks)) * 4 // len(blocks)
    found = []
    for inside in (np.isin(quarter, (1, 2)), quarter % 2 == 1):
        one, other = blocks[inside], blocks[~inside]
        error = math.sqrt(one.var(ddof=1) / len(one) + other.var(ddof=1) / len(other))
        difference = float(one.mean() - other.mean())
        found.append((abs(difference) + student_t(len(blocks) - 2) * error, difference))
    return max((difference for _, difference in found), key=abs), max(bound for bound, _ in found)


def fit_line(blocks: Floats) -> tuple[float, float]:
    """Climb of the least-squares line from the first block to the last, and how far from 0 it may be at 95 %."""
    place = np.linspace(-0.5, 0.5, len(blocks))
    slope = float(place @ blocks / (place @ place))
    left = blocks - blocks.mean() - slope * place
    error = np.sqrt(left @ left / (len(blocks) - 2) / (place @ place))
    return slope, abs(slope) + student_t(len(blocks) - 2) * float(error)
