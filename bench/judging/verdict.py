"""From differences between runs to PASS, FAIL or AMBIGUOUS.

A change is log(candidate / base) with the sign turned so that negative is worse (points, for a share). Runs are paired,
in random order, as often AB as BA, so that what drifts hits both. Then, on the mean of the changes:

FAIL        worse beyond doubt (one-sided t, Benjamini-Hochberg over all cells and metrics, level shared among the
            looks), and the interval, not only the estimate, lies beyond the margin
PASS        the interval lies on the near side of the margin (non-inferiority)
AMBIGUOUS   neither is shown: more pairs, or a quieter host. Never a pass
INCOMPLETE  something was measured on one side only, or a record is of no use: named, and never a pass
new         nothing to compare with, or another environment
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from bench.judging.policy import CERTAIN, FALSE_ALARM, LOOKS, MISSED, POWER, GatedMetric, look_share
from bench.judging.statistics import NORMAL, Floats, benjamini_hochberg, chi_spread, t_cdf, t_quantile

PASS, FAIL, AMBIGUOUS, INCOMPLETE, NEW = "PASS", "FAIL", "AMBIGUOUS", "INCOMPLETE", "new"
EXIT = {PASS: 0, FAIL: 1, AMBIGUOUS: 3, NEW: 3, INCOMPLETE: 4}  # 2 is misuse
WORST_FIRST = (FAIL, INCOMPLETE, AMBIGUOUS, NEW, PASS)


@dataclass(frozen=True)
class Evidence:
    """What is known of one change. `df` None: nothing is known of the noise, so nothing can be shown."""

    cell: str
    metric: str
    estimate: float
    error: float  # standard error of the estimate
    df: int | None
    n: int
    tolerance: GatedMetric
    p_exact: float | None = None  # of being worse, where an exact test knows
    levels: tuple[float, float] | None = None  # medians of base and candidate, in the metric's own unit
    said: str = ""  # what else was seen
    missing: str = ""  # what one side lacks: then no PASS

    def bound(self, confidence: float) -> float:
        """How far from the estimate the truth may be, on one side."""
        if self.df is None:
            return math.inf
        return t_quantile(confidence, self.df) * self.error if self.error else 0.0

    @property
    def p_worse(self) -> float:
        if self.df is None:
            return 1.0
        if self.p_exact is not None:
            return self.p_exact
        if self.error == 0:
            return float(self.estimate >= 0)
        return t_cdf(self.estimate / self.error, self.df)


@dataclass(frozen=True)
class Finding:
    evidence: Evidence
    verdict: str
    low: float  # of the 95 % interval
    high: float
    reason: str = ""


def signed_changes(base: Sequence[float], candidate: Sequence[float], tolerance: GatedMetric) -> Floats:
    """Changes from base to candidate, pairwise; negative is worse."""
    old, new = np.asarray(base, float), np.asarray(candidate, float)
    change: Floats = new - old if tolerance.absolute else np.log(new / old)
    return tolerance.better * change


def mean_and_error(changes: Floats) -> tuple[Floats, Floats]:
    """Mean and its standard error over the last axis.

    Equal changes differ by rounding only: exactly repeatable values (accuracy, memory of an allocator) have no noise.
    """
    error = changes.std(axis=-1, ddof=1) / math.sqrt(changes.shape[-1])
    return changes.mean(axis=-1), np.where(error < 1e-12, 0.0, error)


def paired_evidence(cell: str, metric: str, changes: Floats, tolerance: GatedMetric) -> Evidence:
    n = len(changes)
    if n < 2:
        return Evidence(cell, metric, float(changes.mean()), math.nan, None, n, tolerance)
    estimate, error = mean_and_error(changes)
    return Evidence(cell, metric, float(estimate), float(error), n - 1, n, tolerance)


def certainty(share: float) -> float:
    """The one-sided confidence of the bounds that decide at a look that may spend this share of the error rates."""
    return 1 - min(MISSED * share, CERTAIN)


def decide(
    estimate: Floats, half: Floats, p_worse: Floats, loss: Floats, share: float
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """(failed, passed) of tests that are judged together along the last axis."""
    worse = benjamini_hochberg(p_worse, FALSE_ALARM * share)
    return worse & (estimate + half < -loss), estimate - half > -loss


def judge(evidence: Sequence[Evidence], share: float = 1.0) -> list[Finding]:
    """A verdict on each, all of one session together. `share`: what this look may spend, of policy.look_share."""
    if not evidence:
        return []
    numbers = [(e.estimate, e.bound(certainty(share)), e.p_worse, e.tolerance.loss) for e in evidence]
    estimate, half, p_worse, loss = np.array(numbers, float).T
    failed, passed = decide(estimate, half, p_worse, loss, share)
    return [finding(one, f, p) for one, f, p in zip(evidence, failed.tolist(), passed.tolist(), strict=True)]


def finding(one: Evidence, failed: bool, passed: bool) -> Finding:
    half, reason = one.bound(0.975), one.said
    verdict = FAIL if failed else PASS if passed else AMBIGUOUS
    if one.missing and verdict != FAIL:
        verdict, reason = INCOMPLETE, one.missing
    return Finding(one, verdict, one.estimate - half, one.estimate + half, reason)


def unmeasured(cell: str, metric: str, tolerance: GatedMetric, verdict: str, reason: str) -> Finding:
    """What there is no number of, with the reason."""
    return Finding(Evidence(cell, metric, 0.0, 0.0, None, 0, tolerance), verdict, 0.0, 0.0, reason)


def withdraw_passes(findings: Sequence[Finding], reason: str) -> list[Finding]:
    """A PASS becomes AMBIGUOUS; what was shown to be worse stays shown."""
    return [replace(one, verdict=AMBIGUOUS, reason=reason) if one.verdict == PASS else one for one in findings]


def overall(findings: Sequence[Finding]) -> str:
    """The worst of the verdicts; of none at all, AMBIGUOUS: a gate that measured nothing passes nothing."""
    verdicts = {found.verdict for found in findings}
    return next((verdict for verdict in WORST_FIRST if verdict in verdicts), AMBIGUOUS)


def found_share(size: float, sd: float, loss: float, tests: int, pairs: int = LOOKS[-1]) -> float:
    """How often a loss of `size` is called FAIL at the last look, `sd` being the true one of a pair's change."""
    df, share, error = pairs - 1, look_share(len(LOOKS) - 1), sd / math.sqrt(pairs)
    significant = t_quantile(1 - FALSE_ALARM * share / tests, df)  # the strictest step of Benjamini-Hochberg
    beyond = t_quantile(certainty(share), df)
    needed = (max(significant * s * error, loss + beyond * s * error) for s in chi_spread(df))
    return float(np.mean([NORMAL.cdf((size - least) / error) for least in needed]))


def detectable(sd: float, loss: float, tests: int = 1, pairs: int = LOOKS[-1]) -> float:
    """The smallest loss that is called FAIL with POWER when so many pairs are used, on the scale of changes."""
    low, high = loss, loss + 40 * sd / math.sqrt(pairs) + 1e-9
    while high - low > 1e-6 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if found_share(middle, sd, loss, tests, pairs) < POWER else (low, middle)
    return high


def pairs_needed(sd: float, loss: float) -> int:
    """About how many pairs show that two equal builds are equal to within the margin, in 9 of 10 sessions."""
    wanted = NORMAL.inv_cdf(certainty(look_share(len(LOOKS) - 1))) + NORMAL.inv_cdf(POWER)
    return max(LOOKS[0], math.ceil((wanted * sd / loss) ** 2) + 2)
