"""Start training from the weights of another run, with its alphabet or a new one."""

from __future__ import annotations

from dataclasses import asdict

from torch import Tensor

from bench.errors import UserError
from models.data.charset import Charset
from models.network.model import Model
from models.network.network import Network, rename_crnn_weights

FROZEN_NEEDS = "--freeze backbone keeps the weights that training begins with, and these are random: name some with"
PARTS = ("rectifier", "backbone", "sequence", "head")


def load_pretrained(
    network: Network, weights: dict[str, Tensor], theirs: str, charset: Charset, model: dict | None = None
) -> str:
    """Load `weights`, trained for the alphabet `theirs`, and say in one line what was kept.

    With another alphabet the last layer, whose rows are characters, is initialised and all else is kept. Of another
    network the backbone is kept, and what is the same up to where the networks part. Raises UserError when not even the
    backbone fits, or when the checkpoint says that its network, `model`, is this one.
    """
    weights = dict(rename_crnn_weights(weights))
    fresh = set() if theirs == charset.characters else set(network.last_layer)
    own = network.state_dict()
    reasons = weight_differences(without(weights, fresh), without(own, fresh))
    if reasons and model is not None and same_options(model, network.model):
        raise UserError(f"the weights are not those of its network: {shorten(reasons)}")
    if reasons:
        return keep_trunk(network, weights, theirs == charset.characters, shorten(reasons))
    network.load_state_dict({**weights, **{key: own[key] for key in fresh}})
    if not fresh:
        return f"all {len(own)} weights kept"
    return (
        f"{len(own) - len(fresh)} of {len(own)} weights kept; the alphabet is another one ({len(theirs)} characters"
        f" then, {len(charset.characters)} now), so {', '.join(sorted(fresh))} start anew"
    )


def freeze_weights(network: Network, freeze: str | None) -> None:
    """Those of --freeze are learned no more. Before the optimiser and the exchange of gradients look at them."""
    if freeze:
        network.backbone.requires_grad_(False)


def to_training_mode(network: Network, freeze: str | None) -> None:
    """As `network.train()`, but what is frozen keeps its running statistics, too."""
    network.train()
    if freeze:
        network.backbone.eval()


def same_options(model: dict, own: Model) -> bool:
    """Whether a checkpoint's options are those of the same network. What an older one lacks is at its default."""
    defaults = asdict(Model())
    return all(model.get(name, defaults[name]) == value for name, value in asdict(own).items() if name != "pretrained")


def without(weights: dict[str, Tensor], names: set[str]) -> dict[str, Tensor]:
    return {name: value for name, value in weights.items() if name not in names}


def keep_trunk(network: Network, weights: dict[str, Tensor], same_alphabet: bool, difference: str) -> str:
    """Load the backbone, and the parts around it that fit whole, from the weights of another network.

    What comes after a part that does not fit is initialised too: it was trained to read other features.
    """
    own = network.state_dict()
    fits = {part: not weight_differences(of_part(weights, part), of_part(own, part)) for part in PARTS}
    if not fits["backbone"]:
        raise UserError(f"the weights are of another network: {difference}")
    fits["head"] = fits["head"] and fits["sequence"] and same_alphabet
    kept = {name: weights[name] for part in PARTS if fits[part] for name in of_part(own, part)}
    network.load_state_dict({**own, **kept})
    parts = {part: len(names) for part in PARTS if (names := of_part(own, part))}
    stay = ", ".join(f"{part} ({count})" for part, count in parts.items() if fits[part])
    anew = ", ".join(f"{part} ({count})" for part, count in parts.items() if not fits[part])
    return (
        f"{len(kept)} of {len(own)} weights kept: {stay}; the network is another one ({difference}), so {anew}"
        f" {'start' if ',' in anew else 'starts'} anew"
    )


def of_part(weights: dict[str, Tensor], part: str) -> dict[str, Tensor]:
    return {name: value for name, value in weights.items() if name.startswith(f"{part}.")}


def weight_differences(weights: dict[str, Tensor], own: dict[str, Tensor]) -> list[str]:
    """What is missing, too much or of another shape."""
    reasons = [f"{key} is missing" for key in own.keys() - weights.keys()]
    reasons += [f"{key} is of no use" for key in weights.keys() - own.keys()]
    reasons += [
        f"{key} is {tuple(weights[key].shape)}, not {tuple(own[key].shape)}"
        for key in own.keys() & weights.keys()
        if weights[key].shape != own[key].shape
    ]
    return sorted(reasons)


def shorten(reasons: list[str]) -> str:
    more = f" and {len(reasons) - 3} more" if len(reasons) > 3 else ""
    return f"{'; '.join(reasons[:3])}{more}"
