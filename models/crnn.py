"""CRNN (Shi, Bai, Yao 2015, arXiv 1507.05717) under the names of the field: `python -m models.crnn` prints its size.

Parameter names are those of meijieru/crnn.pytorch, so that its checkpoints, and those of everybody who kept them, load:
8,331,301 parameters with 37 classes. The recipe `crnn` is the same network with a head that can be exchanged
(models/network/network.py), and reads the same checkpoints.
"""

from __future__ import annotations

if not __package__:  # `python models/crnn.py`, from any folder: its own is on the path, and not the checkout
    __import__("sys").path.insert(0, __file__.rsplit("/", 2)[0])

import torch
from torch import Tensor, nn

from bench.errors import run_cli
from bench.options import Command, NoOptions
from models.network.masked import N
from models.network.recurrent import Recurrent
from models.network.vgg import FEATURES, vgg


class CRNN(nn.Module):
    """Images (N, channels, 32, W >= 16), values in -1..1 -> logits (T, N, classes) with T = W // 4 + 1."""

    def __init__(self, channels: int = 1, classes: int = 37, hidden: int = 256):
        super().__init__()
        self.cnn = vgg(channels)
        self.rnn = nn.Sequential(
            Recurrent("lstm", FEATURES, hidden, hidden), Recurrent("lstm", hidden, hidden, classes)
        )

    def forward(self, images: Tensor) -> Tensor:
        features = self.cnn(images)[0]  # (N, 512, 1, T)
        columns = features.squeeze(2).permute(2, 0, 1)  # (T, N, 512)
        logits: Tensor = self.rnn(columns)
        return logits

    @staticmethod
    def time_steps(widths: N) -> N:
        """T for images `widths` px wide (an int or an integer tensor)."""
        return widths // 4 + 1


COMMAND = Command("models.crnn", NoOptions, description=__doc__)


def main(argv: list[str] | None = None) -> None:
    COMMAND.parse(argv)
    crnn = CRNN()
    count = sum(p.numel() for p in crnn.parameters())
    print(f"{count:,} parameters, {tuple(crnn(torch.zeros(1, 1, 32, 100)).shape)} logits (T, N, classes)")


if __name__ == "__main__":
    run_cli(main, "models.crnn")
