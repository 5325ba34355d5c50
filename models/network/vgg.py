"""The CRNN paper's convolutions (Shi, Bai, Yao 2015, arXiv 1507.05717), a dialect of them, and thin ones."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

from models.network.masked import MaskedSequential

CHANNELS = (64, 128, 256, 256, 512, 512, 512)
FEATURES = CHANNELS[-1]
RANKS = (0, 32, 64, 80, 96, 112, 128)  # of each convolution when separated; 0 is not separated


def separable(inputs: int, outputs: int, kernel: int, padding: int, rank: int) -> MaskedSequential:
    """A column's filters and then a row's, `rank` of them between: Jaderberg et al. 2014, arXiv 1405.3866."""
    down = nn.Conv2d(inputs, rank, (kernel, 1), padding=(padding, 0), bias=False)
    return MaskedSequential(down, nn.Conv2d(rank, outputs, (1, kernel), padding=(0, padding)))


def vgg(
    channels: int, normed: tuple[int, ...] = (2, 4, 6), padded: bool = True, ranks: tuple[int, ...] = (0,) * 7
) -> MaskedSequential:
    """(N, channels, 32, W) -> (N, 512, 1, W // 4 + 1).

    normed: convolutions followed by batch norm. padded: whether the last two poolings, which halve the
    height alone, are 2 x 2 with a padded width as in the paper's own code (T 26 at width 100), or 2 x 1 (T
    24). ranks: of each convolution, see RANKS.
    """
    halving = nn.MaxPool2d(2, (2, 1), (0, 1)) if padded else nn.MaxPool2d((2, 1))
    pools = {0: nn.MaxPool2d(2), 1: nn.MaxPool2d(2), 3: halving, 5: halving}
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for i, (inputs, outputs) in enumerate(zip((channels, *CHANNELS), CHANNELS, strict=False)):
        kernel, padding = (2, 0) if i == 6 else (3, 1)
        if ranks[i]:
            layers[f"conv{i}"] = separable(inputs, outputs, kernel, padding, ranks[i])
        else:
            layers[f"conv{i}"] = nn.Conv2d(inputs, outputs, kernel, padding=padding)
        if i in normed:
            layers[f"batchnorm{i}"] = nn.BatchNorm2d(outputs)
        if i in pools:  # max commutes with ReLU, and pooling first leaves ReLU a quarter of the work
            layers[f"pooling{i}"] = pools[i]
        layers[f"relu{i}"] = nn.ReLU(inplace=True)
    return MaskedSequential(layers)
