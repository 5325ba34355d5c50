"""ShuffleNetV2 1.0x (Ma et al. 2018, arXiv 1807.11164) for small pictures."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from models.network.masked import WIDTH, MaskedSequential, N, Size, Widths, conv_norm

FEATURES = 1024
# channels, units after the first, stride of the first unit; the last halving is of the height alone
STAGES = ((116, 3, 2), (232, 7, 2), (464, 3, (2, 1)))


def shuffle(x: Tensor) -> Tensor:
    """Interleave the two halves of the channels, so that the next unit's halves hold some of each."""
    first, second = x.chunk(2, dim=1)
    return torch.stack([first, second], dim=2).flatten(1, 2)


def right_side(inputs: int, outputs: int, stride: Size = 1) -> MaskedSequential:
    filtered = conv_norm(outputs, outputs, 3, stride, groups=outputs)
    before = [*conv_norm(inputs, outputs, 1), nn.ReLU(inplace=True)]
    return MaskedSequential(*before, *filtered, *conv_norm(outputs, outputs, 1), nn.ReLU(inplace=True))


class Unit(nn.Module):
    """Half of the channels passes by and half is worked on; then the two are interleaved."""

    def __init__(self, channels: int):
        super().__init__()
        self.right = right_side(channels // 2, channels // 2)

    def forward(self, x: Tensor, widths: Widths = None) -> tuple[Tensor, Widths]:
        by, worked = x.chunk(2, dim=1)
        worked, widths = self.right(worked, widths)
        return shuffle(torch.cat([by, worked], dim=1)), widths

    def output_size(self, n: N, axis: int = WIDTH) -> N:
        return n


class Downsample(nn.Module):
    """Both halves work on all channels and are made smaller."""

    def __init__(self, inputs: int, outputs: int, stride: Size):
        super().__init__()
        filtered = conv_norm(inputs, inputs, 3, stride, groups=inputs)
        self.left = MaskedSequential(*filtered, *conv_norm(inputs, outputs // 2, 1), nn.ReLU(inplace=True))
        self.right = right_side(inputs, outputs // 2, stride)

    def forward(self, x: Tensor, widths: Widths = None) -> tuple[Tensor, Widths]:
        right, after = self.right(x, widths)
        return shuffle(torch.cat([self.left(x, widths)[0], right], dim=1)), after

    def output_size(self, n: N, axis: int = WIDTH) -> N:
        return self.right.output_size(n, axis)


def shufflenetv2_cifar(channels: int) -> MaskedSequential:
    """(N, channels, H, W) -> (N, 1024, H / 8, W / 4)"""
    layers, inputs = [*conv_norm(channels, 24), nn.ReLU(inplace=True)], 24
    for outputs, units, stride in STAGES:
        layers += [Downsample(inputs, outputs, stride), *[Unit(outputs) for _ in range(units)]]
        inputs = outputs
    return MaskedSequential(*layers, *conv_norm(inputs, FEATURES, 1), nn.ReLU(inplace=True))
