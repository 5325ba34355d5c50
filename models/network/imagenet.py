"""ImageNet weights for the backbones that have them, from torchvision's cache or download or from a file."""

from __future__ import annotations

import re
from pathlib import Path

import torch
from torch import Tensor

from bench.errors import UserError
from models.network.backbones import BACKBONES
from models.network.masked import MaskedSequential
from models.network.torchvision_schemas import import_torchvision
from models.weights.unpickle import UNREADABLE, read_weights


def load_imagenet(chain: MaskedSequential, name: str, source: str) -> None:
    """Fill `chain` (the backbone called `name`) with torchvision's ImageNet weights.

    source: "imagenet" for torchvision's cache or download, else a file of weights as torchvision saves
    them. Raises UserError, in one line, when they cannot be had or do not fit.
    """
    state = download(BACKBONES[name].weights) if source == "imagenet" else read_weights(Path(source))
    try:
        chain.load_state_dict(features_of(state))
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise UserError(f"ImageNet weights from {source!r} do not fit {name}: {reason[:300]}") from None


def download(weights: str) -> dict[str, Tensor]:
    import_torchvision()
    from torchvision import models

    chosen = getattr(models, weights).IMAGENET1K_V1
    try:
        state: dict[str, Tensor] = chosen.get_state_dict(progress=False, check_hash=True, weights_only=True)
        return state
    except UNREADABLE as error:
        cache = Path(torch.hub.get_dir()) / "checkpoints" / Path(chosen.url).name
        if cache.exists():
            raise UserError(f"{cache}: not a readable weights file; delete it, so that it is fetched anew") from None
        raise UserError(
            f"ImageNet weights are neither in {cache} nor to be had from {chosen.url} ({error}); "
            "copy that file there, give its path instead of 'imagenet', or leave pretrained empty"
        ) from None


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
