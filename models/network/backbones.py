"""Every backbone by its name: what makes it, what comes out, and what torchvision calls its ImageNet weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from models.network import densenet, mobilenet, resnet, shufflenet, vgg
from models.network.masked import MaskedSequential


@dataclass(frozen=True)
class Backbone:
    """`make(channels)` gives a chain from (N, channels, H, W) to (N, features, H', W')."""

    make: Callable[[int], MaskedSequential]
    features: int
    weights: str = ""  # torchvision's name of its ImageNet weights


BACKBONES = {
    "vgg": Backbone(vgg.vgg, vgg.FEATURES),
    "vgg_unpadded": Backbone(partial(vgg.vgg, normed=(4, 5), padded=False), vgg.FEATURES),
    "vgg_separated": Backbone(partial(vgg.vgg, ranks=vgg.RANKS), vgg.FEATURES),
    "resnet": Backbone(resnet.resnet, 512),
    "resnet_cifar": Backbone(resnet.resnet_cifar, 512),
    "densenet_cifar": Backbone(densenet.densenet_cifar, 342),
    "densenet121": Backbone(densenet.densenet121, 1024, "DenseNet121_Weights"),
    "densenet121_narrow": Backbone(densenet.densenet121_narrow, 384),
    "mobilenetv2_cifar": Backbone(mobilenet.mobilenetv2_cifar, mobilenet.FEATURES, "MobileNet_V2_Weights"),
    "shufflenetv2_cifar": Backbone(shufflenet.shufflenetv2_cifar, shufflenet.FEATURES),
}
