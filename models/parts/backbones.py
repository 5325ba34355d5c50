"""Every backbone by its name: what makes it, what comes out, and where ImageNet weights are found."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from bench.refusal import Refusal
from models.parts import densenet, mobilenet, resnet, shufflenet, vgg
from models.parts.chain import Chain
from models.torchvision_schemas import import_torchvision


@dataclass(frozen=True)
class Backbone:
    """`make(channels)` gives a chain from (N, channels, H, W) to (N, features, H', W')."""

    make: Callable[[int], Chain]
    features: int
    weights: str = ""  # torchvision's name of its ImageNet weights


BACKBONES = {
    "vgg": Backbone(vgg.vgg, vgg.FEATURES),
    "vgg_unpadded": Backbone(partial(vgg.vgg, normed=(4, 5), padded=False), vgg.FEATURES),
    "resnet": Backbone(resnet.resnet, 512),
    "resnet_cifar": Backbone(resnet.resnet_cifar, 512),
    "densenet_cifar": Backbone(densenet.densenet_cifar, 342),
    "densenet121": Backbone(densenet.densenet121, 1024, "DenseNet121_Weights"),
    "densenet121_narrow": Backbone(densenet.densenet121_narrow, 384),
    "mobilenetv2_cifar": Backbone(mobilenet.mobilenetv2_cifar, mobilenet.FEATURES, "MobileNet_V2_Weights"),
    "shufflenetv2_cifar": Backbone(shufflenet.shufflenetv2_cifar, shufflenet.FEATURES),
}


def load_imagenet(chain: Chain, name: str, source: str):
    """Fill `chain` (the backbone called `name`) with torchvision's ImageNet weights.

    source: "imagenet" for torchvision's cache or download, else a file of weights as torchvision saves
    them. Raises Refusal, in one line, when they cannot be had or do not fit.
    """
    state = download(BACKBONES[name].weights) if source == "imagenet" else read(Path(source))
    try:
        chain.load_state_dict(features_of(state))
    except RuntimeError as error:
        first = str(error).splitlines()[1].strip()
        raise Refusal(f"ImageNet weights from {source!r} do not fit {name}: {first}") from None


def download(weights: str) -> dict[str, Tensor]:
    import_torchvision()
    from torchvision import models

    chosen = getattr(models, weights).IMAGENET1K_V1
    try:
        return chosen.get_state_dict(progress=False, check_hash=True, weights_only=True)
    except OSError as error:
        cache = Path(torch.hub.get_dir()) / "checkpoints" / Path(chosen.url).name
        raise Refusal(
            f"ImageNet weights are neither in {cache} nor to be had from {chosen.url} ({error}); "
            "copy that file there, give its path instead of 'imagenet', or leave pretrained empty"
        ) from None


def read(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise Refusal(f"no file of ImageNet weights at {path}")
    return torch.load(path, map_location="cpu", weights_only=True)


RENAMED = (  # from torchvision's names, today's and those still found in its files
    (r"^features\.", ""),
    (r"^(\d+)\.conv\.", r"\1."),
    (r"(denselayer\d+\.(?:norm|conv))\.([12])", r"\1\2"),
)


def features_of(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """torchvision's weights by our names, without its classifier."""
    kept = {key: value for key, value in state.items() if key.startswith("features.")}
    for pattern, ours in RENAMED:
        kept = {re.sub(pattern, ours, key): value for key, value in kept.items()}
    return kept
