"""The recurrent part: bidirectional layers over the columns."""

from __future__ import annotations

import contextlib
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

CELLS = {"lstm": nn.LSTM, "gru": nn.GRU}


class Recurrent(nn.Module):
    """(T, N, inputs) -> (T, N, outputs): a cell each way and, unless outputs is None, a linear layer.

    `dtype` makes the cell compute in that type whatever autocast says around it, for devices whose LSTM
    lacks one (bfloat16 on MLU falls back to the host). None follows autocast.
    """

    def __init__(self, cell: str, inputs: int, hidden: int, outputs: int | None):
        super().__init__()
        self.rnn = CELLS[cell](inputs, hidden, bidirectional=True)
        self.embedding = None if outputs is None else nn.Linear(2 * hidden, outputs)
        self.features = 2 * hidden if outputs is None else outputs
        self.dtype: torch.dtype | None = None

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """lengths (N,), on the host: the steps that are a sequence's own; others do not reach them."""
        with self.precision(x.device.type):
            x = self.read(x if self.dtype is None else x.to(self.rnn.weight_ih_l0.dtype), lengths)
        return x if self.embedding is None else self.embedding(x)

    def read(self, x: Tensor, lengths: Tensor | None) -> Tensor:
        if lengths is None:
            states: Tensor = self.rnn(x)[0]
            return states
        packed = pack_padded_sequence(x, lengths, enforce_sorted=False)
        return pad_packed_sequence(self.rnn(packed)[0], total_length=len(x))[0]

    def precision(self, device: str) -> contextlib.AbstractContextManager[Any]:
        if self.dtype is None or device == "meta":  # there operations are counted, not computed; it has no autocast
            return contextlib.nullcontext()
        low = self.dtype in (torch.float16, torch.bfloat16)
        return torch.autocast(device, self.dtype if low else None, enabled=low)


class Sequence(nn.Sequential):
    """Recurrent layers one after another, or none."""

    features: int

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        for layer in self:
            x = layer(x, lengths) if isinstance(layer, Recurrent) else layer(x)
        return x


# Cell; features that a linear layer reduces the input to (0: no such layer); for each recurrent layer whether a linear
# layer brings its output back to `hidden` features.
SEQUENCES = {
    "none": ("lstm", 0, ()),
    "bilstm": ("lstm", 0, (True, False)),  # the paper's; the head is the second linear layer
    "bilstm_projected": ("lstm", 0, (True, True)),  # clovaai's
    "bilstm_squeezed": ("lstm", 64, (False, False)),  # GitYCC's
    "gru": ("gru", 0, (True, False)),
}


def sequence(name: str, inputs: int, hidden: int) -> Sequence:
    """The sequence of that name for (T, N, inputs); its `features` tell what comes out."""
    cell, squeezed, projections = SEQUENCES[name]
    layers: list[nn.Module] = [nn.Linear(inputs, squeezed)] if squeezed else []
    inputs = squeezed or inputs
    for projected in projections:
        layer = Recurrent(cell, inputs, hidden, hidden if projected else None)
        layers.append(layer)
        inputs = layer.features
    made = Sequence(*layers)
    made.features = inputs
    return made
