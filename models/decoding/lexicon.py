"""Reading with a lexicon, as the CRNN paper does (section 2.3): the word of it that the network finds most probable.

With a penalty the lexicon is a prior: a text outside it is kept where it is more probable than the most probable word
by more than the penalty, in nats. At 0 a word must be at least as probable as the text; at infinity, the default, every
text is a word.

A small lexicon is scored whole. Of a large one only the words near the text read without it are: the paper searches
them with a BK-tree up to 3 edits; comparing with all words, vectorised and in C++ (rapidfuzz), takes about half a
millisecond for 88,172 words, and needs no tree.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
from rapidfuzz import process
from rapidfuzz.distance import Levenshtein
from torch import Tensor

from bench.errors import UserError
from models.data.charset import Charset
from models.decoding.ctc import Decoded, decode_greedy, decoded_from_labels, log_probabilities
from models.network.heads import Attention, pad_labels

NEAR = 3  # edits, the paper's delta
PAIRS = 4096  # (image, word) pairs scored at a time: 16 MB of log probabilities with 26 steps and 37 classes

# Log probabilities (P,) of P words, word p in image rows[p]; labels (sum of lengths,) one after another, lengths (P,)
Scorer = Callable[[Tensor, Tensor, Tensor], Tensor]


class Lexicon:
    """Words that a text may be. Words that the alphabet cannot spell are left out and counted in `unspellable`."""

    def __init__(self, words: Sequence[str], charset: Charset):
        folded = {charset.normalise(word.strip()) for word in words} - {""}
        self.words = sorted(word for word in folded if charset.index.keys() >= set(word))
        self.labels = [charset.encode(word) for word in self.words]
        self.unspellable = len(folded) - len(self.words)
        if not self.words:
            raise UserError(f"a lexicon of {len(words)} words has none that the alphabet can spell")

    def __len__(self) -> int:
        return len(self.words)

    def candidates(self, texts: Sequence[str], most: int) -> list[np.ndarray]:
        """For each text the indices of at most `most` words, the nearest ones; all words when there are no more."""
        if len(self) <= most:
            return [np.arange(len(self))] * len(texts)
        edits = self.edits(texts, NEAR)
        far = np.flatnonzero((edits > NEAR).all(axis=1))
        if len(far):  # nothing near: the nearest words, however far
            edits[far] = self.edits([texts[i] for i in far.tolist()], None)
        return [nearest_words(row, most) for row in edits]

    def edits(self, texts: Sequence[str], cutoff: int | None) -> np.ndarray:
        """Edit distances (texts, words); those beyond the cutoff are cutoff + 1."""
        return process.cdist(
            texts, self.words, scorer=Levenshtein.distance, score_cutoff=cutoff, dtype=np.uint16, workers=-1
        )


Lexicons: TypeAlias = "Lexicon | Sequence[Lexicon]"  # one for all images of a batch, or one for each


def decode_lexicon(
    logits: Tensor,
    time_steps: Sequence[int] | Tensor | None,
    charset: Charset,
    lexicons: Lexicons,
    most: int = 100,
    penalty: float = math.inf,
) -> Decoded:
    """CTC: the most probable word of a lexicon, or of each image's own; of a large one, of the `most` nearest."""
    logs, own = log_probabilities(logits, time_steps)
    texts = decode_greedy(logits, time_steps, charset).texts
    scorer = ctc_scorer(logs, own)
    choice = keep_surer(texts, choose_words(texts, lexicons, scorer, most), charset, scorer, penalty)
    return decoded_from_labels(choice.labels, choice.scores, logs, own, charset)


def nearest_words(edits: np.ndarray, most: int) -> np.ndarray:
    """Indices of the `most` smallest, without sorting all: distances are few and small."""
    within = np.searchsorted(np.cumsum(np.bincount(edits)), most, side="left")
    near = np.flatnonzero(edits <= within)
    return near[np.argsort(edits[near], kind="stable")[:most]]


@dataclass(frozen=True)
class Choice:
    """The most probable word of each image, as text and classes, and its log probability."""

    texts: list[str]
    labels: list[list[int]]
    scores: list[float]


def choose_words(texts: Sequence[str], lexicons: Lexicons, scorer: Scorer, most: int = 100) -> Choice:
    """For each image the word of its lexicon with the highest probability.

    texts: read without a lexicon, to search a large one by. lexicons: one for all images, or one for each.
    most: how many words of a lexicon are scored at the most; the nearest ones when it has more.
    """
    own = [lexicons] * len(texts) if isinstance(lexicons, Lexicon) else list(lexicons)
    if len(own) != len(texts):
        raise UserError(f"{len(own)} lexicons for {len(texts)} images: give one for all, or one for each")
    found = (
        lexicons.candidates(texts, most)
        if isinstance(lexicons, Lexicon)
        else [lexicon.candidates([text], most)[0] for lexicon, text in zip(own, texts, strict=True)]
    )
    rows = np.repeat(np.arange(len(texts)), [len(some) for some in found])
    labels = [own[row].labels[word] for row, some in enumerate(found) for word in some]
    scores = score_all(rows, labels, scorer)
    ends = np.cumsum([len(some) for some in found])
    best = [int(part.argmax()) for part in np.split(scores, ends[:-1])]
    words = [int(some[i]) for some, i in zip(found, best, strict=True)]
    starts = ends - [len(some) for some in found]
    return Choice(
        [lexicon.words[word] for lexicon, word in zip(own, words, strict=True)],
        [lexicon.labels[word] for lexicon, word in zip(own, words, strict=True)],
        scores[starts + best].tolist(),
    )


def keep_surer(texts: Sequence[str], choice: Choice, charset: Charset, scorer: Scorer, penalty: float) -> Choice:
    """The words, or in their places the texts read without a lexicon that are more probable by more than `penalty`."""
    if penalty == math.inf:
        return choice
    labels = [charset.classes_of(text) for text in texts]
    scores = score_all(np.arange(len(texts)), labels, scorer).tolist()
    kept = Choice(list(choice.texts), list(choice.labels), list(choice.scores))
    for i, (score, word) in enumerate(zip(scores, choice.scores, strict=True)):
        if score > word + penalty:
            kept.texts[i], kept.labels[i], kept.scores[i] = texts[i], labels[i], score
    return kept


def score_all(rows: np.ndarray, labels: list[list[int]], scorer: Scorer) -> np.ndarray:
    """Log probabilities of all pairs of an image and a word, PAIRS at a time."""
    scores = []
    for start in range(0, len(rows), PAIRS):
        some = labels[start : start + PAIRS]
        flat = torch.tensor([c for label in some for c in label], dtype=torch.long)
        lengths = torch.tensor([len(label) for label in some])
        scores.append(scorer(torch.from_numpy(rows[start : start + PAIRS]), flat, lengths).cpu().numpy())
    return np.concatenate(scores)


def ctc_scorer(logs: Tensor, steps: Tensor) -> Scorer:
    """By CTC's own forward algorithm. logs (T, N, C) log probabilities, steps (N,)."""

    def score(rows: Tensor, labels: Tensor, lengths: Tensor) -> Tensor:
        return -F.ctc_loss(logs[:, rows.to(logs.device)], labels, steps[rows], lengths, reduction="none")

    return score


def attention_scorer(head: Attention, features: Tensor, steps: Tensor | None) -> Scorer:
    """By letting the decoder write each word. features (T, N, F) and steps (N,) as `Network.features` gives them."""

    def score(rows: Tensor, labels: Tensor, lengths: Tensor) -> Tensor:
        own = None if steps is None else steps[rows]
        return word_log_probabilities(head, features[:, rows.to(features.device)], own, labels, lengths).sum(dim=1)

    return score


@torch.no_grad()
def word_log_probabilities(
    head: Attention, features: Tensor, steps: Tensor | None, labels: Tensor, lengths: Tensor
) -> Tensor:
    """Log probabilities (P, S) of the characters of P words and their ends, 0 beyond, each read by the next step."""
    targets = pad_labels(labels, lengths).to(features.device)
    logs = head(features, steps, targets).float().log_softmax(dim=-1).permute(1, 0, 2)  # (P, S, C)
    counted = torch.arange(targets.shape[1]) <= lengths[:, None]
    return logs.gather(2, targets[..., None])[..., 0] * counted.to(features.device)
