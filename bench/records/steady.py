"""Is a measured span steady? Proven from its own steps, not assumed after a fixed warm-up.

Two questions, each asked of the time per image in up to 20 blocks of steps (neighbouring steps are alike, blocks
hardly): does the second half differ from the first, and does a straight line through them climb? Steady means that the
95 % interval of both answers lies within limits: a span too short or too noisy to show that is not steady either. This
is an equivalence test (Schuirmann 1987), with Student's t; the reader need not trust the warm-up.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# Shares of the mean. A straight drift of 10 % from end to end moves the halves 5 % apart: one limit, seen twice.
LIMITS = {"split_half": 0.05, "drift": 0.10}
BLOCKS = 20
FEWEST = 8  # blocks; with fewer the interval says nothing
# Student's t at 97.5 %, by degrees of freedom 6..18 (two means or a line through 8..20 blocks)
T = dict(
    zip(
        range(6, 19),
        (2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131, 2.120, 2.110, 2.101),
        strict=True,
    )
)


@dataclass(frozen=True)
class Steady:
    """Shares are of the mean time per image; a bound is the end of the 95 % interval that is farther from 0."""

    verdict: str  # steady | not_steady | too_short
    blocks: int = 0
    split_half_share: float | None = None  # (second half - first half) / mean
    split_half_bound_share: float | None = None
    drift_share: float | None = None  # climb of the line over the whole span / mean
    drift_bound_share: float | None = None
    slope_share_per_min: float | None = None

    @property
    def reasons(self) -> list[str]:
        """Why it is not steady, for a person."""
        if self.verdict == "too_short":
            return [f"steady state cannot be shown with fewer than {FEWEST} measured steps"]
        asked = {"split_half": "second half against first", "drift": "drift over the span"}
        return [
            f"not shown to be steady: {what} {getattr(self, f'{name}_share'):+.1%},"
            f" may be as far as {getattr(self, f'{name}_bound_share'):.1%} (limit {LIMITS[name]:.0%})"
            for name, what in asked.items()
            if getattr(self, f"{name}_bound_share") > LIMITS[name]
        ]


def steady(step_s: np.ndarray, images: np.ndarray) -> Steady:
    """The verdict over the steps after the warm-up, in the order they were made: seconds, and images of each.

    Time per image is judged, since the last batch of an epoch is smaller than the others.
    """
    count = min(BLOCKS, len(step_s)) // 2 * 2
    if count < FEWEST:
        return Steady("too_short", count)
    blocks = np.array([block.sum() for block in np.array_split(step_s, count)])
    blocks /= [max(1, block.sum()) for block in np.array_split(images, count)]
    blocks /= blocks.mean()
    split, split_bound = split_half(blocks)
    drift, drift_bound = line(blocks)
    held = split_bound <= LIMITS["split_half"] and drift_bound <= LIMITS["drift"]
    return Steady(
        verdict="steady" if held else "not_steady",
        blocks=count,
        split_half_share=split,
        split_half_bound_share=split_bound,
        drift_share=drift,
        drift_bound_share=drift_bound,
        slope_share_per_min=drift / (float(np.sum(step_s)) / 60),
    )


def split_half(blocks: np.ndarray) -> tuple[float, float]:
    """Difference of the halves' means, and how far from 0 it may be at 95 %."""
    first, second = np.split(blocks, 2)
    error = np.sqrt((first.var(ddof=1) + second.var(ddof=1)) / len(first))
    difference = float(second.mean() - first.mean())
    return difference, abs(difference) + T[len(blocks) - 2] * float(error)


def line(blocks: np.ndarray) -> tuple[float, float]:
    """Climb of the least-squares line from the first block to the last, and how far from 0 it may be at 95 %."""
    place = np.linspace(-0.5, 0.5, len(blocks))
    slope = float(place @ blocks / (place @ place))
    left = blocks - blocks.mean() - slope * place
    error = np.sqrt(left @ left / (len(blocks) - 2) / (place @ place))
    return slope, abs(slope) + T[len(blocks) - 2] * float(error)
