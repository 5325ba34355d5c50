"""The few statistics that judging needs, on numpy alone: Student's t, intervals of repeated runs, what they can detect.

The unit is always a run (a fresh process), never a step: steps of one run share its luck, and testing them against each
other finds a difference between identical builds nearly every time (Kalibera and Jones, ISMM 2013).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

NORMAL = NormalDist()


def t_cdf(t: float, df: int) -> float:
    """P(T <= t) for whole degrees of freedom."""
    return float(t_cdfs(np.asarray(t, float), df))


def t_cdfs(t: Floats, df: int) -> Floats:
    """The same of many t: Abramowitz and Stegun 26.7.3 and 26.7.4, finite sums, exact."""
    angle = np.arctan2(t, math.sqrt(df))
    cosine, sine = np.cos(angle), np.sin(angle)
    odd = df % 2
    term = cosine if odd else np.ones_like(cosine)
    total = term.copy() if df > 1 else np.zeros_like(cosine)
    for k in range(3 if odd else 2, df, 2):
        term = term * cosine * cosine * (k - 1) / k
        total += term
    within = 2 / math.pi * (angle + sine * total) if odd else sine * total
    return np.clip(0.5 + within / 2, 0.0, 1.0)


@lru_cache(maxsize=4096)
def t_quantile(p: float, df: int) -> float:
    """The t with P(T <= t) = p, by bisection."""
    low, high = -1e6, 1e6
    while high - low > 1e-9 * max(1.0, abs(low)):
        middle = (low + high) / 2
        low, high = (middle, high) if t_cdf(middle, df) < p else (low, middle)
    return (low + high) / 2


def chi_square_quantile(p: float, df: int) -> float:
    """Wilson and Hilferty's cube approximation: within 1 % from 3 degrees of freedom on."""
    spread = 2 / (9 * df)
    return df * (1 - spread + NORMAL.inv_cdf(p) * math.sqrt(spread)) ** 3


def sd_upper_bound(sd: float, df: int, confidence: float = 0.90) -> float:
    """What the true standard deviation does not exceed with this confidence, given one estimated on `df`."""
    return sd * math.sqrt(df / chi_square_quantile(1 - confidence, df))


def median_interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float] | None:
    """Where the median of positive `values` lies. None for fewer than two.

    From 6 values on by order statistics, which assume nothing of their distribution; below that no pair of order
    statistics reaches 95 %, and Student's t on the logarithms is used.
    """
    ordered, n = np.sort(np.asarray(values, float)), len(values)
    if n < 2:
        return None
    rank = order_statistic(n, confidence)
    if rank is not None:
        return float(ordered[rank]), float(ordered[n - 1 - rank])
    logs = np.log(ordered)
    half = t_quantile((1 + confidence) / 2, n - 1) * logs.std(ddof=1) / math.sqrt(n)
    return float(np.exp(logs.mean() - half)), float(np.exp(logs.mean() + half))


def order_statistic(n: int, confidence: float) -> int | None:
    """The largest r for which [x(r), x(n-1-r)] holds the median with `confidence`; None where not even r = 0 does."""
    rank, tail, below = None, 0.0, (1 - confidence) / 2
    for r in range(n // 2):
        tail += math.comb(n, r) / 2**n
        if tail > below:
            break
        rank = r
    return rank


def log_sd(values: Sequence[float]) -> float:
    """Standard deviation of the logarithms: the relative spread between runs."""
    return float(np.log(np.asarray(values, float)).std(ddof=1))


def detectable_change(values: Sequence[float], alpha: float = 0.05, power: float = 0.90) -> float | None:
    """The smallest relative change between two cells of n runs each that a t-test finds with this power.

    (t_{1-alpha/2} + t_power) x sd x sqrt(2/n) on 2n - 2 degrees of freedom. None for fewer than two runs.
    """
    n = len(values)
    if n < 2:
        return None
    df = 2 * n - 2
    factor = t_quantile(1 - alpha / 2, df) + t_quantile(power, df)
    return math.expm1(factor * log_sd(values) * math.sqrt(2 / n))


def t_test(left: Floats, right: Floats) -> float:
    """Two-sided p of Student's test that two samples have one mean; 1 where either is a single value."""
    m, n = len(left), len(right)
    if min(m, n) < 2:
        return 1.0
    pooled = ((m - 1) * left.var(ddof=1) + (n - 1) * right.var(ddof=1)) / (m + n - 2)
    difference = abs(left.mean() - right.mean())
    if pooled == 0:
        return float(difference == 0)
    return 2 * t_cdf(-difference / math.sqrt(pooled * (1 / m + 1 / n)), m + n - 2)


def benjamini_hochberg(p_values: Sequence[float] | Floats, rate: float) -> NDArray[np.bool_]:
    """Which hypotheses fall when the share of false ones among those is held at `rate` (JRSS B 57, 1995).

    Of the last axis: (sessions, tests) are judged a session at a time.
    """
    p = np.asarray(p_values, float)
    m = p.shape[-1]
    ordered = np.sort(p, axis=-1)
    below = ordered <= rate * np.arange(1, m + 1) / m
    last = m - 1 - np.argmax(below[..., ::-1], axis=-1)  # the largest rank that is below its line
    limit = np.where(below.any(axis=-1), np.take_along_axis(ordered, last[..., None], -1)[..., 0], -1.0)
    fallen: NDArray[np.bool_] = p <= limit[..., None]
    return fallen


def mcnemar_p(lost: int, gained: int) -> float:
    """One-sided exact p of losing so many words while so few are gained, were either equally likely (McNemar 1947)."""
    n = lost + gained
    return float(sum(math.comb(n, k) for k in range(lost, n + 1)) / 2**n)


def wilson_interval(correct: int, n: int, z: float = 1.959964) -> tuple[float, float]:
    """Wilson's score interval of a share, 95 % by default: inside 0..1, and sound for few images too."""
    if n == 0:
        return 0.0, 1.0
    share, spread = correct / n, z * z / n
    middle = share + spread / 2
    half = math.sqrt(spread * (share * (1 - share) + spread / 4))
    # It holds the share, also where rounding would leave a share of 1 a last bit above it.
    return max(0.0, min(share, (middle - half) / (1 + spread))), min(1.0, max(share, (middle + half) / (1 + spread)))


@lru_cache(maxsize=256)
def chi_spread(df: int, points: int = 400) -> tuple[float, ...]:
    """Equally likely values of (estimated / true standard deviation) on `df` degrees of freedom."""
    shares = ((i + 0.5) / points for i in range(points))
    return tuple(math.sqrt(max(chi_square_quantile(p, df), 0.0) / df) for p in shares)
