"""CTC's best path and what becomes of it: repeats collapsed, blanks dropped (Graves et al. 2006), a batch at a time.

Class 0 is the blank; class i + 1 is character i of the alphabet, '-' included. Equal neighbours are two characters
only when a blank stands between them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from models.data.charset import Charset
from models.decoding.alignment import align


@dataclass(frozen=True)
class Decoded:
    """Texts of a batch, with a probability for each text and for each of its characters."""

    texts: list[str]
    confidences: list[float]
    character_confidences: list[list[float]]


def decode_greedy(logits: Tensor, time_steps: Sequence[int] | Tensor | None, charset: Charset) -> Decoded:
    """The best class of every time step, repeats collapsed, blanks dropped.

    logits (T, N, C); time_steps (N,): those that are an image's own; None: all. The confidence of a text is the
    probability of its best path; that of a character is the highest one in its run.
    """
    return collapse(*best_path(logits, time_steps), charset)


def best_path(logits: Tensor, time_steps: Sequence[int] | Tensor | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Best class and its log probability, (N, T) each, on the host; steps beyond an image's own are certain blanks."""
    logits = logits.detach().float()
    values, best = logits.max(dim=-1)
    log_best = values - logits.logsumexp(dim=-1)
    classes, logs = best.T.cpu().numpy(), log_best.T.cpu().numpy()  # the only wait for the device
    if time_steps is not None:
        inside = np.arange(classes.shape[1]) < np.asarray(time_steps)[:, None]
        classes, logs = np.where(inside, classes, 0), np.where(inside, logs, 0)
    return classes, logs


def collapse(classes: np.ndarray, logs: np.ndarray, charset: Charset) -> Decoded:
    """Paths (N, T) to texts, all images at once: a run starts where the class changes."""
    starts = np.ones(classes.shape, bool)
    starts[:, 1:] = classes[:, 1:] != classes[:, :-1]
    runs = np.flatnonzero(starts)
    peaks = np.exp(np.maximum.reduceat(logs.ravel(), runs))
    kept = classes.ravel()[runs] != 0
    counts = np.bincount(runs[kept] // classes.shape[1], minlength=len(classes))
    line = "".join(map(charset.characters.__getitem__, classes.ravel()[runs[kept]] - 1))
    texts, sure = charset.typed_order(split_at(line, counts), split_at(peaks[kept].tolist(), counts))
    return Decoded(texts, np.exp(logs.sum(axis=1)).tolist(), sure)


def log_probabilities(logits: Tensor, time_steps: Sequence[int] | Tensor | None) -> tuple[Tensor, Tensor]:
    """Log probabilities (T, N, C) and time steps (N,) on the host, where searches run."""
    logs = logits.detach().float().log_softmax(dim=-1).cpu()
    own = [len(logs)] * logs.shape[1] if time_steps is None else time_steps
    return logs, torch.as_tensor(own).cpu().long()


def decoded_from_labels(
    labels: list[list[int]], scores: list[float], logs: Tensor, time_steps: Tensor, charset: Charset
) -> Decoded:
    """Texts that a search chose, with their log probabilities; a character is as sure as the best step of its run."""
    paths = align(logs.numpy(), time_steps.numpy(), labels)
    chosen = np.take_along_axis(logs.numpy().transpose(1, 0, 2), paths[..., None], axis=2)[..., 0]
    characters = collapse(paths, chosen, charset).character_confidences
    return Decoded([charset.decode(label) for label in labels], np.exp(scores).tolist(), characters)


def split_at(line: str | list, counts: np.ndarray) -> list:
    """One long sequence into pieces of the given lengths."""
    ends = np.cumsum(counts).tolist()
    return [line[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def raw_path(classes: Sequence[int] | np.ndarray, charset: Charset, blank: str = "-") -> str:
    """A path (T,) as papers print it, `a-----v--a-i-l-a-bb-l-ee--`; the blank's sign is for the eye only."""
    return "".join(charset.characters[c - 1] if c else blank for c in classes)
