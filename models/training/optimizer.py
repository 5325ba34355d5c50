"""From a loss to an update: optimisers, schedules, clipping, and the refusal to learn from what is not finite."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bench.errors import UserError
from bench.machine.device import Device
from models.run.options import Optimizer

MAX_SKIPS = 20  # steps in a row without a finite gradient; more means that training is lost

READ_EVERY = 50  # steps between readings of what a card has counted; each reading waits for it

OPTIMIZERS = {
    "adam": lambda p, o, **k: torch.optim.Adam(p, betas=o.betas, eps=o.eps, weight_decay=o.weight_decay, **k),
    "adamw": lambda p, o, **k: torch.optim.AdamW(p, betas=o.betas, eps=o.eps, weight_decay=o.weight_decay, **k),
    "rmsprop": lambda p, o, **k: torch.optim.RMSprop(p, eps=o.eps, weight_decay=o.weight_decay, **k),
    "adadelta": lambda p, o, **k: torch.optim.Adadelta(p, rho=0.95, eps=o.eps, weight_decay=o.weight_decay, **k),
    "sgd": lambda p, o, **k: torch.optim.SGD(p, momentum=o.betas[0], weight_decay=o.weight_decay, **k),
}
FUSED = ("adam", "adamw")  # one kernel for the whole update, which can be told on the device to change nothing
# The rate as a share of its peak, a pure function of progress (0..1): nothing to save, nothing to restore.
SCHEDULES = {
    "constant": lambda progress: 1.0,
    "cosine": lambda progress: half_cosine(progress),
    "one_cycle": lambda progress: one_cycle(progress),
    "exponential": lambda progress: math.exp(-3 * progress),  # zhiqwang's exp(-0.1) an epoch over its 30 epochs
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


def fuses(name: str, device: Device) -> bool:
    """Whether this optimiser has one kernel here: on CUDA, on a CPU since torch 2.4; on MLU only newer releases do."""
    here = device.kind.type == "cuda" or (device.kind.type == "cpu" and hasattr(torch, "get_autocast_dtype"))
    return name in FUSED and here


class Diverged(UserError):
    """Training produced nothing finite for MAX_SKIPS steps in a row."""

    status = "diverged"


@dataclass
class Stepper:
    """Backward, clip, skip what is not finite, update. Holds what a checkpoint must restore."""

    network: nn.Module
    device: Device
    options: Optimizer
    rate: float
    total_steps: int
    step: int = 0
    recordable: bool = False  # the update may become part of a CUDA graph: nothing of it is then read on the host

    def __post_init__(self):
        self.fused = fuses(self.options.name, self.device) or None  # None is torch's own choice
        self.kind = {"fused": True} if self.fused else {}
        if self.recordable:
            self.kind["capturable"] = True
        parameters, rate = self.network.parameters(), self.own_rate(self.rate)
        self.optimizer = OPTIMIZERS[self.options.name](parameters, self.options, lr=rate, **self.kind)
        self.scaler = self.device.gradient_scaler()
        # A card goes on by itself where its kernel can skip; elsewhere the host looks at every norm.
        self.waits = self.device.kind.type == "cpu" or not self.fused
        self.skips = torch.zeros(3, dtype=torch.long, device=self.device.torch)  # in all, in a row, the longest row

    def __call__(self, loss: Tensor) -> None:
        """One update from a scalar loss. Gradients are averaged over ranks by then, so all ranks skip together."""
        self.set_rate()
        self.learn(loss)
        self.count()

    def set_rate(self) -> None:
        for group in self.optimizer.param_groups:
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(self.lr)  # where a recorded update reads it
            else:
                group["lr"] = self.lr

    def own_rate(self, rate: float) -> float | Tensor:
        return torch.tensor(rate, device=self.device.torch) if self.recordable else rate

    def learn(self, loss: Tensor) -> None:
        """What the device does of a step."""
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()
        self.scaler.unscale_(self.optimizer)
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), self.options.clip or math.inf)
        self.update(~torch.isfinite(norm))

    def count(self) -> None:
        """What the host does of a step, when the device has been given its part."""
        self.step += 1
        if self.waits or self.step % READ_EVERY == 0:
            self.check()

    def update(self, bad: Tensor) -> None:
        """Change the weights unless `bad`, a truth value on the device, and count it there."""
        if self.scaler.is_enabled():  # skips by itself, and must see the step to lower its scale
            self.scaler.step(self.optimizer)
            self.scaler.update()
        elif not self.waits:
            self.optimizer.grad_scale, self.optimizer.found_inf = None, bad.float()  # read by the fused kernel
            self.optimizer.step()
        elif not bad:
            self.optimizer.step()
        total, row, longest = self.skips
        row = (row + 1) * bad
        self.skips.copy_(torch.stack([total + bad, row, torch.maximum(longest, row)]))

    @property
    def lr(self) -> float:
        return self.rate * SCHEDULES[self.options.schedule](self.step / self.total_steps)

    @property
    def skipped(self) -> int:
        """Steps without a finite gradient; waits for the device."""
        return int(self.skips[0])

    def check(self) -> None:
        """Diverged when MAX_SKIPS steps in a row had nothing finite; waits for the device."""
        if int(self.skips[2]) >= MAX_SKIPS:
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
        """Also of a stepper on another device: whether updates are fused is this one's own affair."""
        own = {"fused": self.fused, "capturable": self.recordable, "lr": self.rate}
        groups = [
            {**group, **{name: value for name, value in own.items() if name in group}}
            for group in state["optimizer"]["param_groups"]
        ]
        self.optimizer.load_state_dict({**state["optimizer"], "param_groups": groups})
        for group in self.optimizer.param_groups:
            group["lr"] = self.own_rate(self.rate)
        self.scaler.load_state_dict(state["scaler"])
        self.step = state["step"]
        self.skips = torch.tensor([state["skipped"], 0, 0], device=self.device.torch)
