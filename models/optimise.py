"""From a loss to an update: optimisers, schedules, clipping, and the refusal to learn from what is not finite."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from bench.device import Device
from bench.refusal import Refusal
from models.options import Optimizer

MAX_SKIPS = 20  # steps in a row without a finite gradient; more means that training is lost

OPTIMIZERS = {
    "adam": lambda p, o, lr: torch.optim.Adam(p, lr, betas=o.betas, eps=o.eps, weight_decay=o.weight_decay),
    "adamw": lambda p, o, lr: torch.optim.AdamW(p, lr, betas=o.betas, eps=o.eps, weight_decay=o.weight_decay),
    "rmsprop": lambda p, o, lr: torch.optim.RMSprop(p, lr, eps=o.eps, weight_decay=o.weight_decay),
    "adadelta": lambda p, o, lr: torch.optim.Adadelta(p, lr, rho=0.95, eps=o.eps, weight_decay=o.weight_decay),
    "sgd": lambda p, o, lr: torch.optim.SGD(p, lr, momentum=o.betas[0], weight_decay=o.weight_decay),
}
# The rate as a share of its peak, a pure function of progress (0..1): nothing to save, nothing to restore.
SCHEDULES = {
    "constant": lambda progress: 1.0,
    "cosine": lambda progress: half_cosine(progress),
    "one_cycle": lambda progress: one_cycle(progress),
}


def half_cosine(progress: float) -> float:
    return (1 + math.cos(math.pi * min(progress, 1.0))) / 2


def one_cycle(progress: float, rise: float = 0.3, first: float = 1 / 25, last: float = 1e-4 / 25) -> float:
    """Up from `first` to 1 over the share `rise`, down to `last` over the rest (Smith and Topin 2018, as in torch)."""
    if progress < rise:
        return first + (1 - first) * (1 - half_cosine(progress / rise))
    return last + (1 - last) * half_cosine((progress - rise) / (1 - rise))


def scaled_rate(options: Optimizer, global_batch: int) -> float:
    """The recipe's rate for another global batch: times the square root of the ratio, as Adam's noise scales."""
    return options.lr * math.sqrt(global_batch / options.lr_batch)


class Diverged(Refusal):
    """Training produced nothing finite for MAX_SKIPS steps in a row."""


@dataclass
class Stepper:
    """Backward, clip, skip what is not finite, update. Holds what a checkpoint must restore."""

    network: nn.Module
    device: Device
    options: Optimizer
    rate: float
    total_steps: int
    step: int = 0
    skipped: int = 0
    skipped_in_a_row: int = field(default=0, init=False)

    def __post_init__(self):
        self.optimizer = OPTIMIZERS[self.options.name](self.network.parameters(), self.options, self.rate)
        self.scaler = self.device.gradient_scaler()

    def __call__(self, loss: Tensor) -> None:
        """One update from a scalar loss. Gradients are averaged over ranks by then, so all ranks skip together."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.lr
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()
        self.scaler.unscale_(self.optimizer)
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), self.options.clip or math.inf)
        finite = bool(torch.isfinite(norm))
        if finite or self.scaler.is_enabled():  # the scaler skips by itself, and must see the step to lower its scale
            self.scaler.step(self.optimizer)
            self.scaler.update()
        self.step += 1
        self.count(finite)

    @property
    def lr(self) -> float:
        return self.rate * SCHEDULES[self.options.schedule](self.step / self.total_steps)

    def count(self, finite: bool) -> None:
        self.skipped += not finite
        self.skipped_in_a_row = 0 if finite else self.skipped_in_a_row + 1
        if self.skipped_in_a_row >= MAX_SKIPS:
            raise Diverged(
                f"training diverged: {MAX_SKIPS} steps in a row had a loss or gradient that is not finite; "
                "lower --optimizer.lr, or look at the data with `python -m models.prepare --audit`"
            )

    def state_dict(self) -> dict:
        return {
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "step": self.step,
            "skipped": self.skipped,
        }

    def load_state_dict(self, state: dict) -> None:
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        self.step, self.skipped = state["step"], state["skipped"]
