"""The moving average of a network's weights, which mostly reads better than the weights themselves (Polyak 1992).

After torch.optim.swa_utils.AveragedModel and timm's ModelEmaV3, without a second network: validation puts the average
into the one that trains, and takes it out again.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from bench.errors import UserError


class MovingAverage:
    """mean = decay x mean + (1 - decay) x weights after every step, running statistics of batch norm included.

    decay: None keeps none, and all methods do nothing. The first steps count more: min(decay, (1 + n) / (10 + n)), so
    that the weights that training begins with are soon forgotten.
    """

    def __init__(self, network: nn.Module, decay: float | None):
        self.decay, self.updates = decay, 0
        state = network.state_dict()
        parts: dict[str, Tensor] = {**dict(network.named_parameters()), **dict(network.named_buffers())}
        # Parameters themselves, not their data, which a recurrent layer may lay out anew.
        self.live = {name: parts[name] for name in state if decay is not None and parts[name].is_floating_point()}
        self.mean = {name: tensor.detach().clone() for name, tensor in self.live.items()}
        self.kept: dict[str, Tensor] = {}  # the weights that train, while the mean is in their place

    @torch.no_grad()
    def update(self) -> None:
        """After a step. A skipped one changed no weight, and counts as one."""
        if self.decay is None:
            return
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        live = [tensor.detach() for tensor in self.live.values()]
        torch._foreach_lerp_(list(self.mean.values()), live, 1 - decay)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The network has the mean weights inside, whatever happens there its own again behind."""
        if self.decay is None:
            yield
            return
        self.forget_bad()
        self.kept = {name: tensor.detach().clone() for name, tensor in self.live.items()}
        put_into(self.live, self.mean)
        try:
            yield
        finally:
            put_into(self.live, self.kept)
            self.kept = {}

    def forget_bad(self) -> None:
        """One bad batch makes running statistics nan and their mean for ever: it begins again at the present ones."""
        for name, mean in self.mean.items():
            if not bool(torch.isfinite(mean).all()):
                mean.copy_(self.live[name].detach())

    def state_dict(self) -> dict[str, Any]:
        """For a checkpoint; empty without a decay. `trained`: the weights that train, where the mean stands in."""
        if self.decay is None:
            return {}
        return {"mean": dict(self.mean), "updates": self.updates, "trained": dict(self.kept)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on with a checkpoint's mean, or where it has none begin at the weights that were just loaded."""
        if self.decay is None:
            return
        if state.get("trained"):  # best.pt, whose network is the mean
            put_into(self.live, state["trained"])
        put_into(self.mean, state.get("mean") or self.live)
        self.updates = state.get("updates", 0)


@torch.no_grad()
def put_into(into: dict[str, Tensor], tensors: dict[str, Tensor]) -> None:
    """Copy tensors by name, in place. Raises UserError when names or shapes differ."""
    if {name: one.shape for name, one in into.items()} != {name: one.shape for name, one in tensors.items()}:
        raise UserError("the checkpoint's moving average is of another network")
    for name, one in into.items():
        one.copy_(tensors[name].detach())
