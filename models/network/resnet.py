"""Two residual backbones: the text recognisers' own, and the small-image one without a recurrent part."""

from __future__ import annotations

import itertools
from collections import OrderedDict
from typing import Any

import torch
from torch import Tensor, nn

from models.network.masked import WIDTH, MaskedSequential, N, Residual, Size, Widths, conv_norm


def basic_block(inputs: int, outputs: int) -> Residual:
    """Two 3 x 3 convolutions beside a shortcut, which is 1 x 1 where the number of channels changes."""
    (conv1, bn1), (conv2, bn2) = conv_norm(inputs, outputs), conv_norm(outputs, outputs)
    main = MaskedSequential(OrderedDict(conv1=conv1, bn1=bn1, relu=nn.ReLU(inplace=True), conv2=conv2, bn2=bn2))
    return Residual(main, None if inputs == outputs else MaskedSequential(*conv_norm(inputs, outputs, 1)))


def resnet(channels: int) -> MaskedSequential:
    """(N, channels, 32, W) -> (N, 512, 1, W // 4 + 1): FAN's (Cheng et al. 2017, arXiv 1709.02054).

    Layer names are those of clovaai's deep-text-recognition-benchmark.
    """
    layers: OrderedDict[str, nn.Module] = OrderedDict()

    def convolve(name: str, *shape: int, **options: Any) -> None:
        layers[f"conv{name}"], layers[f"bn{name}"] = conv_norm(*shape, **options)
        layers[f"relu{name}"] = nn.ReLU(inplace=True)

    def blocks(name: str, number: int, inputs: int, outputs: int) -> None:
        sizes = [inputs, *[outputs] * number]
        layers[name] = MaskedSequential(*[basic_block(i, o) for i, o in itertools.pairwise(sizes)])

    convolve("0_1", channels, 32)
    convolve("0_2", 32, 64)
    layers["maxpool1"] = nn.MaxPool2d(2)  # 16 x W/2
    blocks("layer1", 1, 64, 128)
    convolve("1", 128, 128)
    layers["maxpool2"] = nn.MaxPool2d(2)  # 8 x W/4
    blocks("layer2", 2, 128, 256)
    convolve("2", 256, 256)
    layers["maxpool3"] = nn.MaxPool2d(2, (2, 1), (0, 1))  # 4 x W/4 + 1
    blocks("layer3", 5, 256, 512)
    convolve("3", 512, 512)
    blocks("layer4", 3, 512, 512)
    convolve("4_1", 512, 512, 2, stride=(2, 1), padding=(0, 1))  # 2 x W/4 + 2
    convolve("4_2", 512, 512, 2, padding=0)  # 1 x W/4 + 1
    return MaskedSequential(layers)


class PreActivation(nn.Module):
    """Batch norm and ReLU come before each convolution (He et al. 2016, arXiv 1603.05027)."""

    def __init__(self, inputs: int, outputs: int, stride: Size):
        super().__init__()
        self.norm = nn.BatchNorm2d(inputs)
        self.main = MaskedSequential(
            nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
            nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False),
        )
        same = stride == 1 and inputs == outputs
        self.shortcut = None if same else MaskedSequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False))

    def forward(self, x: Tensor, widths: Widths = None) -> tuple[Tensor, Widths]:
        active = torch.relu(self.norm(x))
        added = x if self.shortcut is None else self.shortcut(active, widths)[0]
        x, widths = self.main(active, widths)
        return x + added, widths

    def output_size(self, n: N, axis: int = WIDTH) -> N:
        return self.main.output_size(n, axis)


def resnet_cifar(channels: int) -> MaskedSequential:
    """(N, channels, H, W) -> (N, 512, H / 8, W / 4): a pre-activation ResNet-18 for small images.

    The last stage halves the height alone. Halving the width too, as the system it comes from did, leaves
    13 columns at width 100: fewer than a word of six letters needs once two of them are the same.
    """
    stages: list[tuple[int, int, Size]] = [(64, 64, 1), (64, 128, 2), (128, 256, 2), (256, 512, (2, 1))]
    blocks = [block for i, o, stride in stages for block in (PreActivation(i, o, stride), PreActivation(o, o, 1))]
    return MaskedSequential(nn.Conv2d(channels, 64, 3, 1, 1, bias=False), *blocks)
