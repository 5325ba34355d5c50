"""MobileNetV2 (Sandler et al. 2018, arXiv 1801.04381) for small images, nested as torchvision nests it."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from models.network.masked import MaskedSequential, Size, Widths, conv_norm

FEATURES = 1280
# Expansion, channels, blocks, stride of the first block. ImageNet's strides are 1 2 2 2 1 2 1 after a stem of 2; here
# the stem and the second row keep the size, and the last halving is of the height alone: the width is divided by 4.
STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 1),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, (2, 1)),
    (6, 320, 1, 1),
)


class Skip(MaskedSequential):
    """x plus what the chain makes of it."""

    def forward(self, x: Tensor, widths: Widths = None) -> tuple[Tensor, Widths]:
        made, widths = super().forward(x, widths)
        return x + made, widths


def conv_norm_relu(*shape: int, **options: Any) -> MaskedSequential:
    return MaskedSequential(*conv_norm(*shape, **options), nn.ReLU6(inplace=True))


def inverted_residual(inputs: int, outputs: int, stride: Size, expansion: int) -> MaskedSequential:
    """Widen by 1 x 1, filter each channel by 3 x 3, narrow by 1 x 1 without activation."""
    middle = inputs * expansion
    widen = [conv_norm_relu(inputs, middle, 1)] if expansion > 1 else []
    filtered = conv_norm_relu(middle, middle, 3, stride=stride, groups=middle)
    kind = Skip if stride == 1 and inputs == outputs else MaskedSequential
    return kind(*widen, filtered, *conv_norm(middle, outputs, 1))


def mobilenetv2_cifar(channels: int) -> MaskedSequential:
    """(N, channels, H, W) -> (N, 1280, H / 8, W / 4)"""
    layers, inputs = [conv_norm_relu(channels, 32)], 32
    for expansion, outputs, blocks, stride in STAGES:
        for block in range(blocks):
            layers.append(inverted_residual(inputs, outputs, stride if block == 0 else 1, expansion))
            inputs = outputs
    return MaskedSequential(*layers, conv_norm_relu(inputs, FEATURES, 1))
