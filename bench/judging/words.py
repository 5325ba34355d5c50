"""Accuracy is a count of words, and which words were read is known: the same words on both sides. No torch here.

So what counts are the words that one side reads and the other does not (McNemar 1947): one word of 98 is no proof of
anything, and equal texts on every word are proof that nothing changed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from bench.judging.policy import GatedMetric
from bench.judging.statistics import Floats, mcnemar_p
from bench.judging.verdict import Evidence, mean_and_error

MANY = 1000  # degrees of freedom that are as good as a normal distribution


def word_changes(base: Sequence[Sequence[int]], new: Sequence[Sequence[int]]) -> Floats | None:
    """(words,): mean over the pairs of how each word's reading changed, -1 lost to +1 gained; None where not known."""
    if not base or len(base) != len(new) or len({len(words) for words in [*base, *new]}) != 1 or not base[0]:
        return None
    change: Floats = (np.array(new, float) - np.array(base, float)).mean(axis=0)
    return change


def sampling_variance(changes: Floats, words: Floats | None, n: int) -> float:
    """Of the mean change, by which words happen to be in the set. Where words are not known: the least it can be."""
    if words is not None:
        return float(words.var() / len(words))
    moved = abs(float(changes.mean()))
    return max(0.0, moved - moved**2) / n if n else 0.0


def accuracy_evidence(
    cell: str, metric: str, changes: Floats, words: Floats | None, n: int, tolerance: GatedMetric
) -> Evidence:
    """From the changes of pairs, in points, and of words. `n` words were read on either side."""
    sampling = sampling_variance(changes, words, n)
    between = float(mean_and_error(changes)[1]) ** 2 if len(changes) > 1 else 0.0
    error, df, p_exact, said = math.sqrt(sampling + between), MANY, None, ""
    if between:
        df = max(1, min(MANY, int((sampling + between) ** 2 / (between**2 / (len(changes) - 1)))))
    elif words is not None:
        lost, gained = round(float(-words[words < 0].sum())), round(float(words[words > 0].sum()))
        p_exact = mcnemar_p(lost, gained)
        said = f"of {len(words):,} words {lost} lost, {gained} gained" if lost or gained else "the same words are read"
    return Evidence(cell, metric, float(changes.mean()), error, df, len(changes), tolerance, p_exact=p_exact, said=said)
