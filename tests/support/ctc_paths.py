"""CTC by brute force: random outputs, and every text with all its paths summed up."""

from __future__ import annotations

import itertools
from collections import defaultdict

import numpy as np
import torch


def log_probabilities(steps, images, classes, seed=0, sharpness=1.0):
    generator = torch.Generator().manual_seed(seed)
    return (torch.randn(steps, images, classes, generator=generator) * sharpness).log_softmax(-1)


def all_texts(logs):
    """Every text of an image's logs (T, C) with the log probability of all its paths."""
    totals = defaultdict(lambda: -np.inf)
    for path in itertools.product(range(logs.shape[1]), repeat=len(logs)):
        text = tuple(c for c, before in zip(path, (0, *path), strict=False) if c not in (0, before))
        totals[text] = np.logaddexp(totals[text], sum(logs[t, c].item() for t, c in enumerate(path)))
    return totals
