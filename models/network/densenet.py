"""DenseNet-BC (Huang et al. 2017, arXiv 1608.06993): each layer reads everything made before it in its block.

Layer names are torchvision's, so that its ImageNet weights load.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn

from models.network.masked import MaskedSequential, Widths

BOTTLENECK = 4  # the 1 x 1 convolution makes this many times the growth


class DenseLayer(MaskedSequential):
    """(N, C, H, W) -> (N, C + growth, H, W)"""

    def __init__(self, inputs: int, growth: int):
        middle = BOTTLENECK * growth
        super().__init__(
            OrderedDict(
                norm1=nn.BatchNorm2d(inputs),
                relu1=nn.ReLU(inplace=True),
                conv1=nn.Conv2d(inputs, middle, 1, bias=False),
                norm2=nn.BatchNorm2d(middle),
                relu2=nn.ReLU(inplace=True),
                conv2=nn.Conv2d(middle, growth, 3, 1, 1, bias=False),
            )
        )

    def forward(self, x: Tensor, widths: Widths = None) -> tuple[Tensor, Widths]:
        made, widths = super().forward(x, widths)
        return torch.cat([x, made], dim=1), widths


def dense_block(inputs: int, growth: int, layers: int) -> MaskedSequential:
    made = {f"denselayer{i + 1}": DenseLayer(inputs + i * growth, growth) for i in range(layers)}
    return MaskedSequential(OrderedDict(made))


def transition(inputs: int, pool: tuple[int, int]) -> MaskedSequential:
    """Half the channels, and height and width divided by `pool`."""
    return MaskedSequential(
        OrderedDict(
            norm=nn.BatchNorm2d(inputs),
            relu=nn.ReLU(inplace=True),
            conv=nn.Conv2d(inputs, inputs // 2, 1, bias=False),
            pool=nn.AvgPool2d(pool, pool),
        )
    )


def small_stem(channels: int, outputs: int) -> OrderedDict[str, nn.Module]:
    return OrderedDict(conv0=nn.Conv2d(channels, outputs, 3, 1, 1, bias=False))


def imagenet_stem(channels: int, outputs: int) -> OrderedDict[str, nn.Module]:
    """ImageNet's 7 x 7 convolution; its pooling halves the height alone."""
    return OrderedDict(
        conv0=nn.Conv2d(channels, outputs, 7, 2, 3, bias=False),
        norm0=nn.BatchNorm2d(outputs),
        relu0=nn.ReLU(inplace=True),
        pool0=nn.MaxPool2d(3, (2, 1), 1),
    )


def densenet(
    stem: OrderedDict[str, nn.Module],
    features: int,
    growth: int,
    blocks: tuple[int, ...],
    pools: tuple[tuple[int, int], ...],
) -> MaskedSequential:
    """Blocks of `blocks[i]` layers each, and between them transitions of `pools[i]`."""
    layers = stem
    for i, number in enumerate(blocks):
        layers[f"denseblock{i + 1}"] = dense_block(features, growth, number)
        features += growth * number
        if i < len(pools):
            layers[f"transition{i + 1}"] = transition(features, pools[i])
            features //= 2
    layers["norm5"], layers["relu5"] = nn.BatchNorm2d(features), nn.ReLU(inplace=True)
    return MaskedSequential(layers)


HALVE, HALVE_HEIGHT = (2, 2), (2, 1)


def densenet_cifar(channels: int) -> MaskedSequential:
    """(N, channels, H, W) -> (N, 342, H / 4, W / 4)"""
    return densenet(small_stem(channels, 24), 24, 12, (16, 16, 16), (HALVE, HALVE))


def densenet121(channels: int) -> MaskedSequential:
    """(N, channels, H, W) -> (N, 1024, H / 32, W / 4): DenseNet-121, its width halved only twice."""
    pools = (HALVE, HALVE_HEIGHT, HALVE_HEIGHT)
    return densenet(imagenet_stem(channels, 64), 64, 32, (6, 12, 24, 16), pools)


def densenet121_narrow(channels: int) -> MaskedSequential:
    """(N, channels, H, W) -> (N, 384, H / 8, W / 4): zhiqwang's, with growth 12."""
    return densenet(small_stem(channels, 24), 24, 12, (6, 12, 24, 16), (HALVE, HALVE, HALVE_HEIGHT))
