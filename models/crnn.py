"""CRNN (Shi, Bai, Yao 2015, arXiv 1507.05717): seven convolutions, two bidirectional LSTMs, one class score a column.

Parameter names are those of meijieru/crnn.pytorch, so that the field's checkpoints load: 8,331,301 parameters with 37
classes. Knows no files and no devices.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn

CHANNELS = (64, 128, 256, 256, 512, 512, 512)
NORMED = {2, 4, 6}  # convolutions followed by batch norm
# Height is halved four times (32 -> 2, then conv6 makes it 1); width only twice, so that a character keeps its columns.
POOLS = {
    0: {"kernel_size": 2},
    1: {"kernel_size": 2},
    3: {"kernel_size": 2, "stride": (2, 1), "padding": (0, 1)},
    5: {"kernel_size": 2, "stride": (2, 1), "padding": (0, 1)},
}
MINIMUM_WIDTH = 16  # px: five columns, enough for two characters and their blanks


def convolution(i: int, channels: int) -> list[tuple[str, nn.Module]]:
    """Layer i: convolution, batch norm where the paper has it, ReLU, pooling where the paper has it."""
    kernel, padding = (2, 0) if i == 6 else (3, 1)
    layers = [(f"conv{i}", nn.Conv2d(channels, CHANNELS[i], kernel, padding=padding))]
    if i in NORMED:
        layers += [(f"batchnorm{i}", nn.BatchNorm2d(CHANNELS[i]))]
    if i in POOLS:  # max commutes with ReLU, and pooling first leaves ReLU a quarter of the work
        layers += [(f"pooling{i}", nn.MaxPool2d(**POOLS[i]))]
    return [*layers, (f"relu{i}", nn.ReLU(inplace=True))]


class BidirectionalLSTM(nn.Module):
    """(T, N, inputs) -> (T, N, outputs): an LSTM in each direction and one linear layer over both."""

    def __init__(self, inputs: int, hidden: int, outputs: int):
        super().__init__()
        self.rnn = nn.LSTM(inputs, hidden, bidirectional=True)
        self.embedding = nn.Linear(hidden * 2, outputs)

    def forward(self, sequence: Tensor) -> Tensor:
        return self.embedding(self.rnn(sequence)[0])


class CRNN(nn.Module):
    """Pictures (N, channels, 32, W >= 16), values in -1..1 -> logits (T, N, classes) with T = W // 4 + 1."""

    def __init__(self, channels: int = 1, classes: int = 37, hidden: int = 256):
        super().__init__()
        inputs = (channels, *CHANNELS[:-1])
        layers = [layer for i in range(len(CHANNELS)) for layer in convolution(i, inputs[i])]
        self.cnn = nn.Sequential(OrderedDict(layers))
        self.rnn = nn.Sequential(
            BidirectionalLSTM(CHANNELS[-1], hidden, hidden), BidirectionalLSTM(hidden, hidden, classes)
        )

    def forward(self, images: Tensor) -> Tensor:
        features = self.cnn(images)  # (N, 512, 1, T)
        columns = features.squeeze(2).permute(2, 0, 1)  # (T, N, 512)
        return self.rnn(columns)

    @staticmethod
    def time_steps(widths):
        """T for pictures `widths` px wide (an int or an integer tensor)."""
        return widths // 4 + 1


def initialise(network: CRNN) -> CRNN:
    """He et al. 2015 for the convolutions; LSTMs and linear layers keep torch's own."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            nn.init.zeros_(module.bias)
    return network


def parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


if __name__ == "__main__":  # python -m models.crnn
    crnn = CRNN()
    print(f"{parameters(crnn):,} parameters, {tuple(crnn(torch.zeros(1, 1, 32, 100)).shape)} logits (T, N, classes)")
