"""Start training from the weights of another run, with its alphabet or a new one."""

from __future__ import annotations

from torch import Tensor

from bench.errors import UserError
from models.data.charset import Charset
from models.network.network import Recogniser, our_names


def start_from(network: Recogniser, weights: dict[str, Tensor], theirs: str, charset: Charset) -> str:
    """Load `weights`, trained for the alphabet `theirs`, and say in one line what was kept.

    With another alphabet the last layer, whose rows are characters, starts anew and all else is kept. Raises UserError
    when anything else does not fit.
    """
    weights = our_names(weights)
    fresh = set() if theirs == charset.characters else set(network.last_layer)
    own = network.state_dict()
    refuse_misfits(
        {k: v for k, v in weights.items() if k not in fresh}, {k: v for k, v in own.items() if k not in fresh}
    )
    network.load_state_dict({**weights, **{key: own[key] for key in fresh}})
    if not fresh:
        return f"all {len(own)} weights kept"
    return (
        f"{len(own) - len(fresh)} of {len(own)} weights kept; the alphabet is another one ({len(theirs)} characters"
        f" then, {len(charset.characters)} now), so {', '.join(sorted(fresh))} start anew"
    )


def refuse_misfits(weights: dict[str, Tensor], own: dict[str, Tensor]) -> None:
    """Raises UserError naming what is missing, too much or of another shape."""
    reasons = [f"{key} is missing" for key in own.keys() - weights.keys()]
    reasons += [f"{key} is of no use" for key in weights.keys() - own.keys()]
    reasons += [
        f"{key} is {tuple(weights[key].shape)}, not {tuple(own[key].shape)}"
        for key in own.keys() & weights.keys()
        if weights[key].shape != own[key].shape
    ]
    if reasons:
        more = f" and {len(reasons) - 3} more" if len(reasons) > 3 else ""
        raise UserError(f"the weights are of another network: {'; '.join(sorted(reasons)[:3])}{more}")
