"""A network for reading on a CPU, its weights laid out once as oneDNN wants them.

torch lays the weights of a convolution or an LSTM out anew in each call; a batch of one image waits for that longer
than for its products. The operators used here are those torch.compile puts in a frozen graph, without a compiler.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from models.network.network import Network

LSTM = 2  # as ATen numbers recurrent cells


class PackedConv2d(nn.Conv2d):
    """A Conv2d with its weights packed."""

    geometry: tuple[str | tuple[int, ...], tuple[int, ...], tuple[int, ...], int]  # padding, stride, dilation, groups
    laid_out: Tensor

    @classmethod
    def of(cls, made: nn.Conv2d) -> PackedConv2d:
        packed = cls.__new__(cls)
        packed.__dict__ = made.__dict__.copy()
        packed.geometry = (made.padding, made.stride, made.dilation, made.groups)
        packed.laid_out = torch.ops.mkldnn._reorder_convolution_weight(made.weight.detach(), *packed.geometry, None)
        return packed

    def forward(self, x: Tensor) -> Tensor:
        x = x.to(self.weight.dtype)
        return torch.ops.mkldnn._convolution_pointwise(x, self.laid_out, self.bias, *self.geometry, "none", [], "")


class BothWays(nn.Module):
    """A bidirectional LSTM of one layer, (T, N, inputs) -> (T, N, 2 * hidden); all images are of one width."""

    hidden: int
    dtype: torch.dtype

    def __init__(self, made: nn.LSTM):
        super().__init__()
        self.hidden, self.dtype = made.hidden_size, next(made.parameters()).dtype
        self.directions = [self.packed(made, suffix, bool(suffix)) for suffix in ("", "_reverse")]

    def packed(self, made: nn.LSTM, suffix: str, reverse: bool) -> tuple:
        ih, hh, *biases = (
            getattr(made, f"{name}_l0{suffix}").detach() for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        )
        laid_out = torch.ops.mkldnn._reorder_mkldnn_rnn_layer_weight(ih, hh, self.hidden, reverse, True, False, None)
        return *laid_out, *biases, reverse

    def forward(self, x: Tensor) -> tuple[Tensor, None]:
        x = x.to(self.dtype).contiguous()
        start = x.new_zeros(x.shape[1], self.hidden)
        ways = []
        for *weights, reverse in self.directions:
            ways.append(torch.ops.aten.mkldnn_rnn_layer(
                x, *weights, start, start, reverse, [], LSTM, self.hidden, 1, True, False, False, False
            )[0])  # fmt: skip
        return torch.cat(ways, dim=-1), None


def prepack(network: Network) -> Network:
    """A copy of a network in evaluation mode, its weights in the type they are to be computed in."""
    copied = copy.deepcopy(network)
    for parent in list(copied.modules()):
        for name, layer in list(parent.named_children()):
            if isinstance(layer, nn.Conv2d):
                setattr(parent, name, PackedConv2d.of(layer))
            elif isinstance(layer, nn.LSTM):
                setattr(parent, name, BothWays(layer))
    return copied
