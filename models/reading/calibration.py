"""From the probabilities that a network gives to how often such a text is right.

A path's probability falls with every character, and a network that was trained on drawn words is not as sure of
photographs as it may be: on IIIT5K-train it missed the share of right texts by 0.23 on average (ECE). A logistic
regression on the path's probability, the weakest character and the length, fitted to drawn words that the training did
not see (Platt 1999), brings it to 0.04; docs/recognisers.md has the figures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

CLOSEST = 1e-6  # of a probability to 0 or 1


@dataclass(frozen=True)
class Calibration:
    """Weights of a logistic regression: of 1, logit of the path's probability, of the weakest character, log length."""

    intercept: float
    path: float
    weakest: float
    length: float

    def __call__(self, confidence: float, characters: Sequence[float]) -> float:
        """How likely the text is right, 0 to 1; for an empty text 0."""
        if not len(characters):
            return 0.0
        weights = np.array([self.intercept, self.path, self.weakest, self.length])
        return float(1 / (1 + np.exp(-calibration_features(confidence, characters) @ weights)))


def calibration_features(confidence: float, characters: Sequence[float]) -> np.ndarray:
    path, weakest = np.clip([confidence, min(characters)], CLOSEST, 1 - CLOSEST)
    return np.array([1.0, np.log(path / (1 - path)), np.log(weakest / (1 - weakest)), np.log(len(characters))])


def fit_calibration(
    confidences: Sequence[float], characters: Sequence[Sequence[float]], right: Sequence[bool]
) -> Calibration:
    """The calibration of texts that were read; empty ones have no part. Newton's method on the likelihood."""
    rows = [i for i, own in enumerate(characters) if len(own)]
    inputs = np.array([calibration_features(confidences[i], characters[i]) for i in rows])
    truth = np.array([float(right[i]) for i in rows])
    weights = np.zeros(inputs.shape[1])
    ridge = 1e-3 * np.eye(len(weights))  # keeps weights finite where the texts are all right
    for _ in range(30):
        shares = 1 / (1 + np.exp(-inputs @ weights))
        slope = inputs.T @ (shares - truth) + ridge @ weights
        weights = weights - np.linalg.solve((inputs * (shares * (1 - shares))[:, None]).T @ inputs + ridge, slope)
    return Calibration(*map(float, weights))


def calibration_error(confidences: Sequence[float], right: Sequence[bool], bins: int = 10) -> float:
    """Expected calibration error: the mean distance of confidence and share of right texts, by bins of confidence.

    After Guo et al. 2017 (arXiv 1706.04599), equation 3.
    """
    values, truth = np.array(confidences, float), np.array(right, float)
    places = np.minimum((values * bins).astype(int), bins - 1)
    gaps = [abs(values[places == i].sum() - truth[places == i].sum()) for i in range(bins)]
    return float(np.sum(gaps) / len(values))
