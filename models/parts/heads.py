"""From features to class scores: for CTC a row of scores a column, for attention a row a character.

Both speak the same classes: class i + 1 is character i of the alphabet. Class 0 is the blank of CTC, and
for attention the end of the text.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

END = 0


class CTC(nn.Linear):
    """(T, N, features) -> logits (T, N, classes) (Graves et al. 2006)."""

    def forward(self, features: Tensor, lengths=None, targets=None, teacher_forcing: float = 1.0) -> Tensor:
        return super().forward(features)


class Attention(nn.Module):
    """A decoder that looks at all columns, weighs them by content, and writes one character a step.

    Bahdanau et al. 2015, arXiv 1409.0473, in the form of the rectification paper (Shi et al. 2016, arXiv
    1603.03915). The weights come from what a column holds and not from where it is, so pictures of any
    width can be read.

    embedding: features of the previous character that the cell sees; 0 gives it the class itself, one-hot.
    longest: characters of the longest text that can be read.
    """

    def __init__(self, features: int, hidden: int, classes: int, embedding: int = 0, longest: int = 25):
        super().__init__()
        self.classes, self.steps = classes, longest + 1  # and the end
        self.start = classes  # a class that is only ever read, before the first character
        self.embedding = nn.Embedding(classes + 1, embedding) if embedding else None
        self.column = nn.Linear(features, hidden, bias=False)
        self.state = nn.Linear(hidden, hidden)
        self.score = nn.Linear(hidden, 1, bias=False)
        self.cell = nn.LSTMCell(features + (embedding or classes + 1), hidden)
        self.generator = nn.Linear(hidden, classes)

    def forward(self, features: Tensor, lengths=None, targets=None, teacher_forcing: float = 1.0) -> Tensor:
        """(T, N, features) -> logits (S, N, classes).

        lengths (N,): columns that belong to each picture. targets (N, S): the classes to write, as `pad`
        makes them; each step of each picture then reads the true character before it with probability
        `teacher_forcing`, its own otherwise. Without targets it reads its own, for as many steps as the
        longest text has.
        """
        return self.write(features, lengths, targets, teacher_forcing)[0]

    def write(self, features: Tensor, lengths=None, targets=None, teacher_forcing: float = 1.0):
        """As forward, and the weights (S, N, T) with which each step looked at the columns."""
        keys, hidden = self.column(features), self.begin(features)
        before = features.new_full((features.shape[1],), self.start, dtype=torch.long)
        beyond = None if lengths is None else self.outside(features, lengths)
        logits, weights = [], []
        for step in range(self.steps if targets is None else targets.shape[1]):
            weight = self.look(keys, hidden[0], beyond)
            hidden = self.cell(self.inputs(weight, features, before), hidden)
            logits.append(self.generator(hidden[0]))
            weights.append(weight)
            before = self.previous(logits[-1], step, targets, teacher_forcing)
        return torch.stack(logits), torch.stack(weights)

    def begin(self, features: Tensor) -> tuple[Tensor, Tensor]:
        nothing = features.new_zeros(features.shape[1], self.cell.hidden_size)
        return nothing, nothing

    def outside(self, features: Tensor, lengths: Tensor) -> Tensor:
        """(T, N) true for columns beyond a picture's own."""
        columns = torch.arange(features.shape[0], device=features.device)
        return columns[:, None] >= lengths.to(features.device)

    def look(self, keys: Tensor, state: Tensor, beyond: Tensor | None) -> Tensor:
        """Weights (N, T), one in sum over a picture's own columns."""
        scores = self.score(torch.tanh(keys + self.state(state))).squeeze(-1)  # (T, N)
        if beyond is not None:
            scores = scores.masked_fill(beyond, float("-inf"))
        return scores.float().softmax(dim=0).to(scores.dtype).T

    def inputs(self, weight: Tensor, features: Tensor, before: Tensor) -> Tensor:
        glimpse = torch.bmm(weight.unsqueeze(1), features.transpose(0, 1)).squeeze(1)  # (N, features)
        if self.embedding is None:
            return torch.cat([glimpse, F.one_hot(before, self.classes + 1).to(glimpse.dtype)], dim=1)
        return torch.cat([glimpse, self.embedding(before)], dim=1)

    def previous(self, logits: Tensor, step: int, targets: Tensor | None, teacher_forcing: float) -> Tensor:
        """The classes (N,) that the next step reads: chosen for each picture anew, for a ratio to be a
        ratio.
        """
        own = logits.detach().argmax(dim=-1)
        if targets is None:
            return own
        taught = torch.rand(own.shape, device=own.device) < teacher_forcing
        return torch.where(taught, targets[:, step], own)


def pad(labels: Tensor, lengths: Tensor) -> Tensor:
    """Labels one after another (sum of lengths,) -> (N, longest + 1), each followed by END to the end of
    its row.
    """
    lengths = lengths.long().cpu()
    rows = labels.long().split(lengths.tolist())
    return nn.utils.rnn.pad_sequence([F.pad(row, (0, 1), value=END) for row in rows], True, END)


def ctc_loss(logits: Tensor, steps: Tensor, labels: Tensor, lengths: Tensor) -> Tensor:
    """Mean over pictures of -log p(text). Texts too long for their columns count 0."""
    logs = logits.float().log_softmax(dim=-1)
    losses = F.ctc_loss(logs, labels, steps, lengths, reduction="none", zero_infinity=True)
    return losses.mean()


def attention_loss(logits: Tensor, targets: Tensor, lengths: Tensor) -> Tensor:
    """Mean over pictures of -log p(text, end); logits (S, N, classes), targets (N, S), lengths (N,)."""
    losses = F.cross_entropy(logits.float().permute(1, 2, 0), targets, reduction="none")  # (N, S)
    counted = torch.arange(targets.shape[1], device=targets.device) <= lengths.to(targets.device)[:, None]
    return (losses * counted).sum(dim=1).mean()
