"""From logits to texts: one result for every way of decoding, made for a whole batch at a time.

Class 0 is the CTC blank; class i + 1 is character i of the alphabet, '-' included. Equal neighbours are two
characters only when a blank stands between them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import Tensor

from models.charset import Charset


@dataclass(frozen=True)
class Decoded:
    """Texts of a batch, with a probability for each text and for each of its characters."""

    texts: list[str]
    confidences: list[float]
    character_confidences: list[list[float]]


def greedy(logits: Tensor, lengths, charset: Charset) -> Decoded:
    """The best class of every time step, repeats collapsed, blanks dropped.

    logits (T, N, C), of any float type and device; lengths (N,) steps of each picture, None for all T.
    The confidence of a text is the probability of its path, of a character the highest one in its run.
    """
    classes, logs = best_path(logits, lengths)
    return collapse(classes, logs, charset)


def best_path(logits: Tensor, lengths=None) -> tuple[np.ndarray, np.ndarray]:
    """Best class and its log probability, (N, T) each, on the host; steps beyond a length are sure blanks."""
    logits = logits.detach().float()
    values, classes = logits.max(dim=-1)
    logs = values - logits.logsumexp(dim=-1)
    classes, logs = classes.T.cpu().numpy(), logs.T.cpu().numpy()  # the only wait for the device
    if lengths is not None:
        inside = np.arange(classes.shape[1]) < np.asarray(lengths)[:, None]
        classes, logs = np.where(inside, classes, 0), np.where(inside, logs, 0)
    return classes, logs


def collapse(classes: np.ndarray, logs: np.ndarray, charset: Charset) -> Decoded:
    """Paths (N, T) to texts, all pictures at once: a run starts where the class changes."""
    starts = np.ones(classes.shape, bool)
    starts[:, 1:] = classes[:, 1:] != classes[:, :-1]
    runs = np.flatnonzero(starts)
    peaks = np.exp(np.maximum.reduceat(logs.ravel(), runs))
    kept = classes.ravel()[runs] != 0
    counts = np.bincount(runs[kept] // classes.shape[1], minlength=len(classes))
    line = "".join(map(charset.characters.__getitem__, classes.ravel()[runs[kept]] - 1))
    return Decoded(cut(line, counts), np.exp(logs.sum(axis=1)).tolist(), cut(peaks[kept].tolist(), counts))


def cut(line, counts) -> list:
    """One long sequence into pieces of the given lengths."""
    ends = np.cumsum(counts).tolist()
    return [line[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def raw_path(classes, charset: Charset, blank: str = "-") -> str:
    """A path (T,) as people print it, `a-----v--a-i-l-a-bb-l-ee--`; the blank's sign is for the eye only."""
    return "".join(charset.characters[c - 1] if c else blank for c in classes)
