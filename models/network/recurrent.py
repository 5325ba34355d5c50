"""The recurrent part: bidirectional layers over the columns."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

# Of weights that are cast in each step: cuDNN copies them together, a few microseconds.
warnings.filterwarnings("ignore", "RNN module weights are not part of single contiguous chunk")
CELLS = {"lstm": nn.LSTM, "gru": nn.GRU}


class Recurrent(nn.Module):
    """(T, N, inputs) -> (T, N, outputs): a cell each way and, unless outputs is None, a linear layer.

    `dtype` makes the cell compute in that type whatever autocast says around it, for devices where autocast has no
    bfloat16 LSTM: on MLU it falls back to the host, on CUDA torch computes it in float16. None follows autocast.
    """

    def __init__(self, cell: str, inputs: int, hidden: int, outputs: int | None):
        super().__init__()
        self.rnn = CELLS[cell](inputs, hidden, bidirectional=True)
        self.embedding = None if outputs is None else nn.Linear(2 * hidden, outputs)
        self.features = 2 * hidden if outputs is None else outputs
        self.dtype: torch.dtype | None = None

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """lengths (N,), on the host: the steps that are a sequence's own; others do not reach them."""
        if self.dtype is None or x.is_meta:  # there operations are counted, not computed; it has no autocast
            x = self.read(x, lengths)
        else:
            with torch.autocast(x.device.type, enabled=False):
                x = self.read(x.to(self.dtype), lengths)
        return x if self.embedding is None else self.embedding(x)

    def read(self, x: Tensor, lengths: Tensor | None) -> Tensor:
        if lengths is None:
            states: Tensor = self.cells(x)
            return states
        packed = pack_padded_sequence(x, lengths, enforce_sorted=False)
        return pad_packed_sequence(self.cells(packed), total_length=len(x))[0]

    def cells(self, x: Any) -> Any:
        """The cell's states for a tensor or a packed sequence, its weights cast where they are of another type."""
        if self.dtype is None or self.dtype == self.rnn.weight_ih_l0.dtype or x.data.is_meta:
            return self.rnn(x)[0]
        return run_cast(self.rnn, x, self.dtype)


def run_cast(rnn: nn.LSTM | nn.GRU, x: Tensor | PackedSequence, dtype: torch.dtype) -> Any:
    """`rnn(x)[0]` with its weights in `dtype`, as autocast casts them: gradients reach the weights themselves.

    Not by changing the module: several threads may be reading with it.
    """
    data, sizes = (x.data, (x.batch_sizes,)) if isinstance(x, PackedSequence) else (x, ())
    n = int(x.batch_sizes[0]) if isinstance(x, PackedSequence) else x.shape[1]
    start = data.new_zeros(2 * rnn.num_layers, n, rnn.hidden_size, dtype=dtype)
    run: Any = torch.lstm if isinstance(rnn, nn.LSTM) else torch.gru
    begin = (start, start) if isinstance(rnn, nn.LSTM) else start
    settings = (rnn.bias, rnn.num_layers, 0.0, rnn.training, rnn.bidirectional, *([] if sizes else [False]))
    weights = [weight.to(dtype) for weight in rnn._flat_weights if weight is not None]
    states = run(data, *sizes, begin, weights, *settings)[0]
    return PackedSequence(states, *x[1:]) if isinstance(x, PackedSequence) else states


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
