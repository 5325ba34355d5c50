"""Start training from the weights of another run, with its alphabet or a new one."""

from __future__ import annotations

from torch import Tensor

from bench.errors import Refusal
from models.data.charset import Charset
from models.network.network import Network, rename_crnn_weights


def load_pretrained(network: Network, weights: dict[str, Tensor], theirs: str, charset: Charset) -> str:
    """Load `weights`, trained for the alphabet `theirs`; a line that says what was kept.

    With another alphabet the last layer, whose rows are characters, is initialised and all else kept. Raises Refusal
    when anything else does not fit.
    """
    weights = rename_crnn_weights(weights)
    fresh = set() if theirs == charset.characters else set(network.last_layer)
    own = network.state_dict()
    check_fit({k: v for k, v in weights.items() if k not in fresh}, {k: v for k, v in own.items() if k not in fresh})
    network.load_state_dict({**weights, **{key: own[key] for key in fresh}})
    if not fresh:
        return f"all {len(own)} weights kept"
    return (
        f"{len(own) - len(fresh)} of {len(own)} weights kept; the alphabet is another one ({len(theirs)} characters"
        f" then, {len(charset.characters)} now), so {', '.join(sorted(fresh))} start anew"
    )


def check_fit(weights: dict[str, Tensor], own: dict[str, Tensor]) -> None:
    """Raises Refusal naming what is missing, too much or of another shape."""
    reasons = [f"{key} is missing" for key in own.keys() - weights.keys()]
    reasons += [f"{key} is of no use" for key in weights.keys() - own.keys()]
    reasons += [
        f"{key} is {tuple(weights[key].shape)}, not {tuple(own[key].shape)}"
        for key in own.keys() & weights.keys()
        if weights[key].shape != own[key].shape
    ]
    if reasons:
        more = f" and {len(reasons) - 3} more" if len(reasons) > 3 else ""
        raise Refusal(f"the weights are of another network: {'; '.join(sorted(reasons)[:3])}{more}")
