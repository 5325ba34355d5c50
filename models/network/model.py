"""What a recogniser is made of, by name: the options `--model.*`. Knows no torch, so that options are read at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from bench.options import Bounds


@dataclass(frozen=True)
class Model:
    """What a recogniser is made of. Every combination works but those that `build` refuses."""

    backbone: Literal[
        "vgg",
        "vgg_unpadded",
        "vgg_separated",
        "resnet",
        "resnet_cifar",
        "densenet_cifar",
        "densenet121",
        "densenet121_narrow",
        "mobilenetv2_cifar",
        "shufflenetv2_cifar",
    ] = "vgg"
    sequence: Literal["none", "bilstm", "bilstm_projected", "bilstm_squeezed", "gru"] = "bilstm"
    head: Literal["ctc", "attention"] = "ctc"
    rectifier: Literal["none", "tps"] = "none"
    hidden: Annotated[int, Bounds(1, 4096)] = 256
    """features of a recurrent layer, one direction, and of the attention decoder"""
    head_rank: Annotated[int, Bounds(0, 4096)] = 0
    """ctc: features of a linear layer before the classes, for alphabets of thousands; 0 for none"""
    embedding: Annotated[int, Bounds(0, 4096)] = 0
    """attention: features of the previous character; 0 gives the decoder the class itself"""
    longest: Annotated[int, Bounds(1, 1000)] = 25
    """attention: characters of the longest text that can be read"""
    teacher_forcing: Annotated[float, Bounds(0, 1)] = 1.0
    """attention: share of steps that, in training, read the true character before them and not their own"""
    fiducials: Annotated[int, Bounds(6, 200)] = 20
    """tps: points along the edges of the text, half of them above it"""
    rectified_width: Annotated[int, Bounds(1, 4096)] = 100
    """tps: width in px of the straightened image"""
    pretrained: str = ""
    """'imagenet' (torchvision's cache or download), or a file of torchvision's weights; empty for none"""
