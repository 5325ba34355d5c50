"""From features to class scores: for CTC a row of scores a column, for attention a row a character.

Both speak the same classes: class i + 1 is character i of the alphabet. Class 0 is the blank of CTC, and
for attention the end of the text.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.network import ctc_loss

END = 0


class CTC(nn.Linear):
    """(T, N, features) -> logits (T, N, classes) (Graves et al. 2006).

    rank: with thousands of classes most weights are here. A linear layer to so many features before them makes the
    matrix one of that rank; 0 leaves it out.
    """

    decoder = "greedy"  # how its logits are read, in the metadata of an ONNX file
    class_parameters = ("weight", "bias")  # names of the weights whose rows or columns are classes

    def __init__(self, features: int, classes: int, rank: int = 0):
        super().__init__(rank or features, classes)
        self.squeeze = nn.Linear(features, rank, bias=False) if rank else None

    def forward(self, features: Tensor, lengths: Tensor | None = None, targets: Tensor | None = None) -> Tensor:
        return super().forward(features if self.squeeze is None else self.squeeze(features))

    def loss(self, logits: Tensor, steps: Tensor, labels: Tensor, lengths: Tensor) -> Tensor:
        """Mean over images of -log p(text). Texts too long for their time steps count 0.

        steps (N,): time steps of each image. labels (sum of lengths,): the texts one after another; or one a row,
        (N, L) and zeros behind them, where all time steps are an image's own and nothing may wait for the host.
        """
        if labels.dim() == 2:
            return ctc_loss.ctc_losses(logits.float(), labels, lengths).mean()
        logs = logits.float().log_softmax(dim=-1)
        return F.ctc_loss(logs, labels, steps, lengths, reduction="none", zero_infinity=True).mean()


class Attention(nn.Module):
    """A decoder that looks at all columns, weighs them by content, and writes one character a step.

    Bahdanau et al. 2015, arXiv 1409.0473, in the form of the rectification paper (Shi et al. 2016, arXiv
    1603.03915). The weights come from what a column holds and not from where it is, so images of any
    width can be read.

    embedding: features of the previous character that the cell sees; 0 gives it the class itself, one-hot.
    longest: characters of the longest text that can be read.
    teacher_forcing: share of training steps that read the true character before them and not their own.
    """

    decoder = "attention"

    def __init__(
        self,
        features: int,
        hidden: int,
        classes: int,
        embedding: int = 0,
        longest: int = 25,
        teacher_forcing: float = 1.0,
    ):
        super().__init__()
        self.teacher_forcing = teacher_forcing
        self.classes, self.steps = classes, longest + 1  # and the end
        self.start = classes  # a class that is only ever read, before the first character
        self.embedding = nn.Embedding(classes + 1, embedding) if embedding else None
        self.column = nn.Linear(features, hidden, bias=False)
        self.state = nn.Linear(hidden, hidden)
        self.score = nn.Linear(hidden, 1, bias=False)
        self.cell = nn.LSTMCell(features + (embedding or classes + 1), hidden)
        self.generator = nn.Linear(hidden, classes)

    def forward(self, features: Tensor, lengths: Tensor | None = None, targets: Tensor | None = None) -> Tensor:
        """(T, N, features) -> logits (S, N, classes).

        lengths (N,): columns that belong to each image. targets (N, S): the classes to write, as `pad_labels` makes
        them. Without targets each step reads what the step before wrote, for as many steps as the longest text has.
        """
        return self.write(features, lengths, targets)[0]

    def write(
        self, features: Tensor, lengths: Tensor | None = None, targets: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """As forward, and the weights (S, N, T) with which each step looked at the columns."""
        keys, hidden = self.column(features), self.begin(features)
        before = features.new_full((features.shape[1],), self.start, dtype=torch.long)
        beyond = None if lengths is None else self.outside(features, lengths)
        logits, weights = [], []
        for step in range(self.steps if targets is None else targets.shape[1]):
            weight = self.attention_weights(keys, hidden[0], beyond)
            hidden = self.cell(self.inputs(weight, features, before), hidden)
            logits.append(self.generator(hidden[0]))
            weights.append(weight)
            before = self.previous(logits[-1], None if targets is None else targets[:, step])
        return torch.stack(logits), torch.stack(weights)

    @property
    def class_parameters(self) -> tuple[str, ...]:
        read = "cell.weight_ih" if self.embedding is None else "embedding.weight"
        return ("generator.weight", "generator.bias", read)

    def begin(self, features: Tensor) -> tuple[Tensor, Tensor]:
        nothing = features.new_zeros(features.shape[1], self.cell.hidden_size)
        return nothing, nothing

    def outside(self, features: Tensor, lengths: Tensor) -> Tensor:
        """(T, N) true for columns beyond an image's own."""
        columns = torch.arange(features.shape[0], device=features.device)
        return columns[:, None] >= lengths.to(features.device)

    def attention_weights(self, keys: Tensor, state: Tensor, beyond: Tensor | None) -> Tensor:
        """Weights (N, T), one in sum over an image's own columns."""
        scores = self.score(torch.tanh(keys + self.state(state))).squeeze(-1)  # (T, N)
        if beyond is not None:
            scores = scores.masked_fill(beyond, float("-inf"))
        weights: Tensor = scores.float().softmax(dim=0).to(scores.dtype).T
        return weights

    def inputs(self, weight: Tensor, features: Tensor, before: Tensor) -> Tensor:
        context = torch.bmm(weight.unsqueeze(1), features.transpose(0, 1)).squeeze(1)  # (N, features)
        if self.embedding is None:
            # Not F.one_hot: torch 2.1's reads the values, which costs a wait and which the meta device has none of.
            classes = torch.arange(self.classes + 1, device=before.device)
            return torch.cat([context, (before[:, None] == classes).to(context.dtype)], dim=1)
        return torch.cat([context, self.embedding(before)], dim=1)

    def previous(self, logits: Tensor, true: Tensor | None) -> Tensor:
        """The classes (N,) that the next step reads; whether true or its own is drawn for each image."""
        own = logits.detach().argmax(dim=-1)
        if true is None:
            return own
        if not self.training or self.teacher_forcing == 1:
            return true
        return torch.where(torch.rand(own.shape, device=own.device) < self.teacher_forcing, true, own)

    def loss(self, logits: Tensor, steps: Tensor | None, labels: Tensor, lengths: Tensor) -> Tensor:
        """Mean over images of -log p(text, end); logits written with the targets of `pad_labels`.

        labels (sum of lengths,): the texts one after another; or those targets themselves, (N, S), and the lengths (N,)
        where the logits are: then nothing waits for the host.
        """
        targets = labels if labels.dim() == 2 else pad_labels(labels, lengths).to(logits.device)
        losses = F.cross_entropy(logits.float().permute(1, 2, 0), targets, reduction="none")
        counted = torch.arange(targets.shape[1], device=losses.device) <= lengths.to(losses.device)[:, None]
        return (losses * counted).sum(dim=1).mean()


def pad_labels(labels: Tensor, lengths: Tensor) -> Tensor:
    """Labels one after another (sum of lengths,) -> (N, longest + 1), each followed by END to the end of its row."""
    labels, lengths = labels.cpu(), lengths.cpu()
    return ctc_loss.pad_labels_to(labels, lengths, int(lengths.max()) + 1)
