"""From differences between runs to PASS, FAIL or AMBIGUOUS.

A change is log(candidate / base) with the sign turned so that negative is worse (points, for a share). Runs are paired
and their order alternates (AB BA AB BA), so that what drifts hits both. Then, on the mean of the changes:

FAIL       worse beyond doubt (one-sided t, Benjamini-Hochberg over all cells and metrics, level shared among the
           looks), and by more than the margin
PASS       not worse than the margin, beyond doubt (non-inferiority)
AMBIGUOUS  neither is shown: more pairs, or a quieter host. Never a pass.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bench.judging.policy import FALSE_ALARM, LOOKS, MISSED, POWER, GatedMetric
from bench.judging.statistics import Floats, benjamini_hochberg, t_cdf, t_quantile

PASS, FAIL, AMBIGUOUS, NEW = "PASS", "FAIL", "AMBIGUOUS", "new"
EXIT = {PASS: 0, FAIL: 1, AMBIGUOUS: 3, NEW: 3}  # 2 is misuse


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

    def bound(self, confidence: float) -> float:
        """How far from the estimate the truth may be, on one side."""
        if self.df is None:
            return math.inf
        return t_quantile(confidence, self.df) * self.error if self.error else 0.0

    @property
    def p_worse(self) -> float:
        if self.df is None:
            return 1.0
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


def paired_evidence(cell: str, metric: str, changes: Floats, tolerance: GatedMetric) -> Evidence:
    n = len(changes)
    error = float(changes.std(ddof=1) / math.sqrt(n)) if n > 1 else math.nan
    # Equal changes differ by rounding only: exactly repeatable values (accuracy, memory of an allocator) have no noise.
    error = 0.0 if error < 1e-12 else error
    return Evidence(cell, metric, float(changes.mean()), error, n - 1 if n > 1 else None, n, tolerance)


def judge(evidence: Sequence[Evidence], looks: int = len(LOOKS)) -> list[Finding]:
    """A verdict on each, all of one session together. `looks`: how often in all verdicts are sought on growing data."""
    worse = benjamini_hochberg([min(1.0, one.p_worse * looks) for one in evidence], FALSE_ALARM)
    return [judge_one(one, fallen, looks) for one, fallen in zip(evidence, worse, strict=True)]


def judge_one(one: Evidence, worse: bool, looks: int) -> Finding:
    loss, half = one.tolerance.loss, one.bound(0.975)
    verdict = AMBIGUOUS
    if worse and one.estimate <= -loss:
        verdict = FAIL
    elif one.estimate - one.bound(1 - MISSED / looks) > -loss:
        verdict = PASS
    return Finding(one, verdict, one.estimate - half, one.estimate + half)


def overall(findings: Sequence[Finding]) -> str:
    """The worst of the verdicts; of none at all, AMBIGUOUS: a gate that measured nothing passes nothing."""
    verdicts = {found.verdict for found in findings}
    return next((v for v in (FAIL, AMBIGUOUS, NEW, PASS) if v in verdicts), AMBIGUOUS)


def detectable(sd: float, loss: float, tests: int = 1) -> float:
    """The smallest loss that is called FAIL with POWER when all pairs are used, `sd` being that of one pair's change.

    It has to be significant among `tests` tests, the strictest step of Benjamini-Hochberg, and the estimate has to lie
    beyond the margin.
    """
    pairs = LOOKS[-1]
    level, error = FALSE_ALARM / len(LOOKS) / tests, sd / math.sqrt(pairs)
    power = t_quantile(POWER, pairs - 1) * error
    return max(t_quantile(1 - level, pairs - 1) * error, loss) + power
