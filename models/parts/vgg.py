"""The CRNN paper's convolutions (Shi, Bai, Yao 2015, arXiv 1507.05717), and a dialect of them."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from models.parts.chain import Chain
from models.parts.winograd import Conv2d

CHANNELS = (64, 128, 256, 256, 512, 512, 512)
FEATURES = CHANNELS[-1]


def vgg(channels: int, normed: tuple[int, ...] = (2, 4, 6), padded: bool = True) -> Chain:
    """(N, channels, 32, W) -> (N, 512, 1, W // 4 + 1).

    normed: convolutions followed by batch norm. padded: whether the last two poolings, which halve the
    height alone, are 2 x 2 with a padded width as in the paper's own code (T 26 at width 100), or 2 x 1 (T
    24).
    """
    halving = nn.MaxPool2d(2, (2, 1), (0, 1)) if padded else nn.MaxPool2d((2, 1))
    pools = {0: nn.MaxPool2d(2), 1: nn.MaxPool2d(2), 3: halving, 5: halving}
    layers = OrderedDict()
    for i, (inputs, outputs) in enumerate(zip((channels, *CHANNELS), CHANNELS, strict=False)):
        layers[f"conv{i}"] = Conv2d(inputs, outputs, *((2, 1, 0) if i == 6 else (3, 1, 1)))
        if i in normed:
            layers[f"batchnorm{i}"] = nn.BatchNorm2d(outputs)
        if i in pools:  # max commutes with ReLU, and pooling first leaves ReLU a quarter of the work
            layers[f"pooling{i}"] = pools[i]
        layers[f"relu{i}"] = nn.ReLU(inplace=True)
    return Chain(layers)
