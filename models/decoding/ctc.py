"""From logits to texts: one call, one result for every way of decoding, made for a whole batch at a time.

Class 0 is the CTC blank; class i + 1 is character i of the alphabet, '-' included. Equal neighbours are two characters
only when a blank stands between them. For an attention head class 0 ends the text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from models.data.charset import Charset
from models.decoding import beam, lexicon
from models.decoding.alignment import align
from models.network.heads import Attention

Method = Literal["greedy", "beam", "lexicon", "attention"]


@dataclass(frozen=True)
class Decoded:
    """Texts of a batch, with a probability for each text and for each of its characters."""

    texts: list[str]
    confidences: list[float]
    character_confidences: list[list[float]]


def decode(logits: Tensor, lengths, charset: Charset, method: Method = "greedy", **options) -> Decoded:
    """Logits (T, N, C) to texts by one of METHODS. lengths (N,): steps that are a picture's own; None: all.

    The confidence of a text is the probability of its best path (greedy), of all its paths that were found (beam), or
    of its characters and its end (attention); that of a character is the highest one in its run.
    """
    return METHODS[method](logits, lengths, charset, **options)


def greedy(logits: Tensor, lengths, charset: Charset) -> Decoded:
    """The best class of every step, repeats collapsed, blanks dropped."""
    return collapse(*best_path(logits, lengths), charset)


def beam_search(logits: Tensor, lengths, charset: Charset, width: int = 10) -> Decoded:
    """The most probable text among the `width` most probable prefixes of each step, all their paths summed."""
    logs, steps = on_host(logits, lengths)
    labels, scores = beam.search(logs, steps, width)
    return spelled(labels, scores.tolist(), logs, steps, charset)


def with_lexicon(
    logits: Tensor,
    lengths,
    charset: Charset,
    words: lexicon.Lexicon | Sequence[lexicon.Lexicon],
    most: int = 100,
) -> Decoded:
    """The most probable word of a lexicon, or of each picture's own; of a large one, of the `most` nearest."""
    logs, steps = on_host(logits, lengths)
    texts = greedy(logits, lengths, charset).texts
    choice = lexicon.choose(texts, words, lexicon.ctc_scorer(logs, steps), most)
    return spelled(choice.labels, choice.scores, logs, steps, charset)


def attention(logits: Tensor, lengths, charset: Charset) -> Decoded:
    """The best class of every step (S, N, C) up to the first end. `lengths` has no meaning here."""
    classes, logs = best_path(logits)
    before_end = np.cumsum(classes == 0, axis=1) == 0
    counts = before_end.sum(axis=1)
    line = "".join(charset.characters[c - 1] for c in classes[before_end])
    with_end = np.arange(classes.shape[1]) <= counts[:, None]
    return Decoded(
        cut(line, counts),
        np.exp((logs * with_end).sum(axis=1)).tolist(),
        cut(np.exp(logs[before_end]).tolist(), counts),
    )


@torch.no_grad()
def attention_with_lexicon(
    head: Attention,
    features: Tensor,
    steps: Tensor | None,
    charset: Charset,
    words: lexicon.Lexicon | Sequence[lexicon.Lexicon],
    most: int = 100,
) -> Decoded:
    """As `with_lexicon`, for an attention head: a word's probability is known when the decoder has written it.

    Features (T, N, F) and steps (N,) as `Recogniser.features` gives them.
    """
    texts = attention(head(features, steps), None, charset).texts
    choice = lexicon.choose(texts, words, lexicon.attention_scorer(head, features, steps), most)
    lengths = torch.tensor([len(label) for label in choice.labels])
    labels = torch.tensor([c for label in choice.labels for c in label])
    logs = lexicon.written(head, features, steps, labels, lengths).cpu()
    characters = [row[:length].exp().tolist() for row, length in zip(logs, lengths, strict=True)]
    return Decoded([charset.decode(label) for label in choice.labels], np.exp(choice.scores).tolist(), characters)


METHODS = {"greedy": greedy, "beam": beam_search, "lexicon": with_lexicon, "attention": attention}


def on_host(logits: Tensor, lengths) -> tuple[Tensor, Tensor]:
    """Log probabilities (T, N, C) and steps (N,) on the host, where searching is done."""
    logs = logits.detach().float().log_softmax(dim=-1).cpu()
    steps = [len(logs)] * logs.shape[1] if lengths is None else lengths
    return logs, torch.as_tensor(steps).cpu().long()


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


def spelled(labels: list[list[int]], scores: list[float], logs: Tensor, steps: Tensor, charset: Charset) -> Decoded:
    """Chosen texts with their log probabilities; each character is as sure as the best step of its run."""
    paths = align(logs.numpy(), steps.numpy(), labels)
    chosen = np.take_along_axis(logs.numpy().transpose(1, 0, 2), paths[..., None], axis=2)[..., 0]
    characters = collapse(paths, chosen, charset)
    texts = [charset.decode(label) for label in labels]
    return Decoded(texts, np.exp(scores).tolist(), characters.character_confidences)


def cut(line, counts) -> list:
    """One long sequence into pieces of the given lengths."""
    ends = np.cumsum(counts).tolist()
    return [line[start:end] for start, end in zip([0, *ends], ends, strict=False)]


def raw_path(classes, charset: Charset, blank: str = "-") -> str:
    """A path (T,) as people print it, `a-----v--a-i-l-a-bb-l-ee--`; the blank's sign is for the eye only."""
    return "".join(charset.characters[c - 1] if c else blank for c in classes)
