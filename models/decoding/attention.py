"""From an attention head's logits to texts: class 0 ends a text, and nothing is collapsed."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from models.data.charset import Charset
from models.decoding.ctc import Decoded, best_path, split_at
from models.decoding.lexicon import (
    Lexicons,
    attention_scorer,
    choose_words,
    keep_surer,
    word_log_probabilities,
)
from models.network.heads import Attention


def decode_attention(logits: Tensor, charset: Charset) -> Decoded:
    """The best class of every step (S, N, C) up to the first end.

    The confidence of a text is the product of the probabilities of its characters and of its end.
    """
    classes, logs = best_path(logits)
    before_end = np.cumsum(classes == 0, axis=1) == 0
    counts = before_end.sum(axis=1)
    line = "".join(charset.characters[c - 1] for c in classes[before_end])
    with_end = np.arange(classes.shape[1]) <= counts[:, None]
    texts, sure = charset.typed_order(split_at(line, counts), split_at(np.exp(logs[before_end]).tolist(), counts))
    return Decoded(texts, np.exp((logs * with_end).sum(axis=1)).tolist(), sure)


@torch.no_grad()
def decode_attention_lexicon(
    head: Attention,
    features: Tensor,
    time_steps: Tensor | None,
    charset: Charset,
    lexicons: Lexicons,
    most: int = 100,
    penalty: float = math.inf,
) -> Decoded:
    """As `decode_lexicon`, for an attention head: a word's probability is known once the head has written it.

    features (T, N, F) and time_steps (N,) as `Network.features` gives them.
    """
    texts = decode_attention(head(features, time_steps), charset).texts
    scorer = attention_scorer(head, features, time_steps)
    choice = keep_surer(texts, choose_words(texts, lexicons, scorer, most), charset, scorer, penalty)
    lengths = torch.tensor([len(label) for label in choice.labels])
    labels = torch.tensor([c for label in choice.labels for c in label], dtype=torch.long)
    logs = word_log_probabilities(head, features, time_steps, labels, lengths).cpu()
    characters = [row[:length].exp().tolist() for row, length in zip(logs, lengths, strict=True)]
    return Decoded([charset.decode(label) for label in choice.labels], np.exp(choice.scores).tolist(), characters)
