"""A recogniser's network: rectifier, backbone, sequence and head. `build` joins those that a `Model` names."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any, get_args, get_type_hints

import torch
from torch import Tensor, nn

from bench.errors import UserError
from bench.options import Bounds, options_of
from models.network import heads
from models.network.backbones import BACKBONES
from models.network.imagenet import load_imagenet
from models.network.masked import HEIGHT, MaskedSequential, N
from models.network.model import Model
from models.network.rectifier import Rectifier
from models.network.recurrent import Recurrent, sequence

MOST_CLASSES = 1 << 16  # characters of Unicode's basic plane; a head for more takes gigabytes


class ModelError(UserError):
    """A combination that cannot work, or an image that cannot be read; the message says why."""


class Network(nn.Module):
    """Images (N, channels, height, W), values in -1..1 -> logits (T, N, classes)."""

    def __init__(self, model: Model, classes: int, height: int, channels: int):
        super().__init__()
        self.model, self.classes, self.height, self.channels = model, classes, height, channels
        kind = BACKBONES[model.backbone]
        self.rectifier = make_rectifier(model, height, channels) if model.rectifier == "tps" else None
        self.backbone = kind.make(channels)
        self.sequence = sequence(model.sequence, kind.features, model.hidden)
        self.head = make_head(model, self.sequence.features, classes)
        first = self.backbone if self.rectifier is None else self.rectifier.localise
        self.minimum_width = narrowest_input(first)  # px

    def forward(
        self,
        images: Tensor,
        widths: Tensor | None = None,
        targets: Tensor | None = None,
    ) -> Tensor:
        """widths (N,): pixels that are each image's own; nothing right of them changes its logits.

        targets (N, S) are for training an attention head (see heads.Attention).
        """
        logits: Tensor = self.head(*self.features(images, widths), targets)
        return logits

    def features(self, images: Tensor, widths: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """What the head reads: (T, N, features), and how many time steps are each image's own (on the host)."""
        widths = self.check_images(images, widths)
        columns = None if widths is None else widths.to(images.device)
        if self.rectifier is not None:  # straightened images are all of one width
            images, columns, widths = self.rectifier(images, columns), None, None
        maps = self.backbone(images, columns)[0]  # (N, F, H', T)
        steps = None if widths is None else self.time_steps(widths).long().cpu()
        columns = maps.mean(dim=2).permute(2, 0, 1)  # H' is 1 for VGG and ResNet at height 32
        return self.sequence(columns, steps), steps

    def check_images(self, images: Tensor, widths: Tensor | None) -> Tensor | None:
        """The widths, or None when no image is padded. ModelError: images that cannot be read."""
        if images.shape[1:3] != (self.channels, self.height):
            raise ModelError(
                f"images have {images.shape[1]} channels and are {images.shape[2]} px high; "
                f"this recogniser was made for {self.channels} and {self.height}"
            )
        narrowest = images.shape[-1] if widths is None else int(widths.min())
        if narrowest < self.minimum_width:
            raise ModelError(f"an image is {narrowest} px wide; {self.model.backbone} needs {self.minimum_width} px")
        return None if narrowest == images.shape[-1] else widths

    def time_steps(self, widths: N) -> N:
        """Time steps of a CTC head, or columns that attention sees, for widths in px (an int or a tensor)."""
        if self.rectifier is not None:
            widths = self.rectifier.output_size(widths)
        return self.backbone.output_size(widths)

    @property
    def last_layer(self) -> list[str]:
        """Names of the weights whose rows or columns are the characters of the alphabet."""
        return [f"head.{name}" for name in self.head.class_parameters]

    def recur_in(self, dtype: torch.dtype | None) -> None:
        """Compute recurrent layers in `dtype` whatever autocast says; None follows autocast."""
        for layer in self.modules():
            if isinstance(layer, Recurrent):
                layer.dtype = dtype

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """As torch's; the names of the plain CRNN (models/crnn.py, meijieru's) are understood too."""
        return super().load_state_dict(rename_crnn_weights(state_dict), strict, assign)


def narrowest_input(part: MaskedSequential) -> int:
    """The least number of columns of which `part` leaves one."""
    return next(n for n in itertools.count(1) if part.output_size(n) > 0)


def rename_crnn_weights(state: Mapping[str, Any]) -> Mapping[str, Any]:
    """The plain CRNN's weights by this network's names: its second linear layer is the head."""
    if not any(key.startswith("cnn.") for key in state):
        return state
    renamed = {key.replace("rnn.1.embedding.", "head.", 1): value for key, value in state.items()}
    for theirs, ours in (("cnn.", "backbone."), ("rnn.", "sequence.")):
        renamed = {ours + k[len(theirs) :] if k.startswith(theirs) else k: v for k, v in renamed.items()}
    return renamed


def make_rectifier(model: Model, height: int, channels: int) -> Rectifier:
    return Rectifier(channels, height, model.rectified_width, model.fiducials)


def make_head(model: Model, features: int, classes: int) -> heads.CTC | heads.Attention:
    if model.head == "ctc":
        return heads.CTC(features, classes, model.head_rank)
    return heads.Attention(features, model.hidden, classes, model.embedding, model.longest, model.teacher_forcing)


def build(model: Model, classes: int = 37, height: int = 32, channels: int = 1) -> Network:
    """A network for grey (1 channel) or RGB (3) images, initialised. Raises ModelError with the reason when
    the combination cannot work.
    """
    check_model(model, classes, height, channels)
    network = init_weights(Network(model, classes, height, channels))
    if model.pretrained:
        load_imagenet(network.backbone, model.backbone, model.pretrained)
    return network


def check_model(model: Model, classes: int, height: int, channels: int) -> None:
    """Raises ModelError for the first thing that cannot work."""
    every = itertools.chain(
        invalid_settings(model, classes), unsupported_combinations(model, classes, height, channels)
    )
    reason = next((reason for wrong, reason in every if wrong), None)
    if reason:
        raise ModelError(reason)


def invalid_settings(model: Model, classes: int) -> Iterator[tuple[object, str]]:
    """(whether it is so, what to say) for settings that only a file from elsewhere can bring, as a command line checks
    its options: no such part, or sizes that would take all memory before the weights are found not to fit.
    """
    hints = get_type_hints(Model)
    for option in options_of(Model):
        value, kind, bounds = getattr(model, option.key), hints[option.key], option.mark(Bounds)
        choices = get_args(kind)
        yield choices and value not in choices, f"no {option.key} {value!r}; there are {', '.join(choices)}"
        yield kind is int and not isinstance(value, int), f"{option.key} is a whole number, not {value!r}"
        yield kind is float and not isinstance(value, int | float), f"{option.key} is a number, not {value!r}"
        yield bounds and not bounds.allow(value), f"{option.key} is {bounds}, not {value}"
    yield classes > MOST_CLASSES, f"classes are at most {MOST_CLASSES:,}, not {classes:,}"


def unsupported_combinations(model: Model, classes: int, height: int, channels: int) -> Iterator[tuple[object, str]]:
    """(whether it is so, what to say) for everything that cannot work, the cheapest to find out first."""
    kind = BACKBONES[model.backbone]
    attends, straightens = model.head == "attention", model.rectifier == "tps"
    weighty = ", ".join(name for name, other in BACKBONES.items() if other.weights)
    yield channels not in (1, 3), f"images have 1 (grey) or 3 (RGB) channels, not {channels}"
    yield classes < 2, f"{classes} classes leave no character beside class 0 (blank or end)"
    yield model.pretrained and not kind.weights, f"{model.backbone} has no ImageNet weights; {weighty} have"
    yield model.pretrained and channels != 3, "ImageNet weights are for RGB images: set data.channels to 3"
    yield model.embedding and not attends, "embedding is a setting of the attention head, and the head is ctc"
    yield model.head_rank and attends, "head_rank is a setting of the ctc head, and the head is attention"
    odd = straightens and model.fiducials % 2
    yield odd, f"tps needs an even number of fiducial points, not {model.fiducials}"
    yield straightens and height < 8, f"tps halves the height three times: at least 8 px, not {height}"
    backbone = kind.make(channels)
    yield (
        backbone.output_size(height, HEIGHT) < 1,
        f"{model.backbone} leaves nothing of images {height} px high; it is made for 32",
    )
    yield (
        straightens and backbone.output_size(model.rectified_width) < 1,
        f"a rectified_width of {model.rectified_width} px leaves {model.backbone} no time step",
    )


def init_weights(network: Network) -> Network:
    """He et al. 2015 for the convolutions; recurrent layers as `init_sequence` does; other layers as torch has it."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    if len(network.sequence):
        init_sequence(network)
    return network


def init_sequence(network: Network) -> None:
    """Start with features that differ from column to column, so that the head soon reads the image.

    Torch's own start shrinks the signal in each layer: at step 0 the logits of the paper's CRNN vary by 0.008 over the
    columns and by 0.026 over the classes, whatever the image shows; with this one by 0.16 and 0.21. CTC then stays on
    its plateau of blanks, and attention learns to spell without the image (docs/recognisers.md). Xavier for a recurrent
    layer's inputs, orthogonal for its states, forget gates open (Jozefowicz et al. 2015), He for linear layers.
    """
    for module in [*network.sequence.modules(), *network.head.modules()]:
        if isinstance(module, nn.Linear):
            nn.init.kaiming_normal_(module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        if isinstance(module, nn.RNNBase | nn.RNNCellBase):
            for name, weights in module.named_parameters():
                init_gates(name, weights.detach(), len(weights) // module.hidden_size)


def init_gates(name: str, weights: Tensor, number: int) -> None:
    """One of an LSTM's weights or biases (4 gates: input, forget, cell, output) or of a GRU's (3)."""
    gates = weights.chunk(number)
    if name.startswith("bias"):
        nn.init.zeros_(weights)
        if name.startswith("bias_ih") and number == 4:  # the two biases are added
            nn.init.ones_(gates[1])
        return
    start = nn.init.xavier_uniform_ if name.startswith("weight_ih") else nn.init.orthogonal_
    for gate in gates:
        start(gate)


def count_parameters(network: nn.Module, trained: bool = False) -> int:
    """Of all of it, or of what is trained: not frozen."""
    return sum(p.numel() for p in network.parameters() if p.requires_grad or not trained)
