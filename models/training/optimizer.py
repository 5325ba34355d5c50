"""From a loss to an update: optimisers, schedules, clipping, and the refusal to learn from what is not finite."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

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
FUSED = ("adam", "adamw")  # one kernel for the whole update, which the device itself can tell to change nothing
# The learning rate as a share of its peak, a pure function of progress (0..1): nothing to save, nothing to restore.
# "step" counts steps instead: torch's StepLR.
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


def scale_lr(options: Optimizer, global_batch: int) -> float:
    """The recipe's learning rate for this global batch: times the square root of the ratio, as Adam's noise scales."""
    return options.lr * math.sqrt(global_batch / options.lr_batch)


def has_fused_kernel(name: str, device: Device) -> bool:
    """Whether this optimiser has one kernel here: on CUDA, on a CPU since torch 2.4; an MLU's torch is asked, once."""
    if name not in FUSED or device.kind.fused_adam is not None:
        return name in FUSED and bool(device.kind.fused_adam)
    answer = device.switches.get(f"fused_{name}")
    if answer is None:
        answer = device.switches[f"fused_{name}"] = skips_by_itself(name, device)
    return bool(answer)


def skips_by_itself(name: str, device: Device) -> bool:
    """Whether this optimiser's fused kernel runs on the device, not on its host, and changes nothing when it is told
    that a gradient is not finite: two updates of four weights.
    """
    weight = torch.ones(4, device=device.torch, requires_grad=True)
    weight.grad, known = torch.ones_like(weight), len(device.fallbacks)
    found = []
    try:
        options = Optimizer(name=name, weight_decay=0.0)  # type: ignore[arg-type]  # one of FUSED
        update: Any = OPTIMIZERS[name]([weight], options, lr=0.5, fused=True)
        for bad in (1.0, 0.0):
            update.grad_scale, update.found_inf = None, torch.full((), bad, device=device.torch)
            update.step()
            found += weight.tolist()
    except (RuntimeError, TypeError):  # torch or its extension has none; NotImplementedError is a RuntimeError
        return False
    fell_back = len(device.fallbacks) > known
    del device.fallbacks[known:]  # of an update that training does not make
    return not fell_back and all(
        abs(one - right) < 1e-3 for one, right in zip(found, [1.0] * 4 + [0.5] * 4, strict=True)
    )


class Diverged(UserError):
    """Training produced nothing finite for MAX_SKIPS steps in a row."""

    status = "diverged"


@dataclass
class GuardedOptimizer:
    """An optimiser with its schedule, loss scaling and clipping, which skips updates that are not finite.

    Counts its steps; holds what a checkpoint must restore of them.
    """

    network: nn.Module
    device: Device
    options: Optimizer
    peak_lr: float
    total_steps: int
    step: int = 0  # steps made, skipped ones included
    capturable: bool = False  # the update may become part of a CUDA graph: the host then reads nothing of it
    nonfinite: str = "skip"  # zero: what is not finite in a gradient is set to 0, as dealwith_lossnan does
    keeps_gradients: bool = False  # they stay where they are between steps: exchange.FlatGradients
    opens: bool = True  # whether the batch at hand is the first of its step, and the last: accumulation.py
    closes: bool = True

    def __post_init__(self):
        self.fused = has_fused_kernel(self.options.name, self.device) or None  # None is torch's own choice
        kinds = {"fused": True} if self.fused else {}
        if self.capturable:
            kinds["capturable"] = True
        parameters, lr = self.network.parameters(), self.initial_lr()
        self.optimizer = OPTIMIZERS[self.options.name](parameters, self.options, lr=lr, **kinds)
        self.scaler = self.device.gradient_scaler()
        # A card needs no waiting where its kernel can skip; elsewhere the host looks at every norm.
        self.waits = self.device.kind.type == "cpu" or not self.fused
        # One that waits for each norm need not wait a second time, for the count of those skipped.
        self.reads_every = READ_EVERY if self.device.kind.is_card else 1
        self.skips = torch.zeros(3, dtype=torch.long, device=self.device.torch)  # in all, in a row, the longest row
        self.zeroed = torch.zeros((), dtype=torch.long, device=self.device.torch)  # steps with gradients set to 0
        if self.nonfinite == "zero" and self.scaler.is_enabled():
            raise UserError(
                "--nonfinite zero goes with FP32, TF32 and BF16: float16 finds its loss scale by the gradients that are"
                " not finite, and skips them"
            )

    def initial_lr(self) -> float | Tensor:
        return torch.tensor(self.peak_lr, device=self.device.torch) if self.capturable else self.peak_lr

    def set_lr(self) -> None:
        """Before a step: the learning rate that the schedule gives it."""
        for group in self.optimizer.param_groups:
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(self.lr)  # where a captured update reads it
            else:
                group["lr"] = self.lr

    def zero_grad(self) -> None:
        if not self.opens:
            return
        self.optimizer.zero_grad(set_to_none=not self.keeps_gradients)

    def scale(self, loss: Tensor) -> Tensor:
        """The loss times the scale of mixed precision; as it is where the precision needs none."""
        return self.scaler.scale(loss)

    def clip_gradients(self) -> Tensor:
        """Unscale the gradients and clip their norm, which is returned: nan or inf when one of them is not finite."""
        if not self.closes:
            return self.zeroed  # there is no norm yet, and nobody looks at it
        self.scaler.unscale_(self.optimizer)
        bad = self.zero_bad_gradients() if self.nonfinite == "zero" else None
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), self.options.clip or math.inf)
        if bad is None:
            return norm
        return torch.where(bad & (norm == 0), math.nan, norm)  # nothing was finite: still a step to be skipped

    def zero_bad_gradients(self) -> Tensor:
        """Set to 0 what is not finite in the gradients. Whether something was, on the device."""
        gradients = [one.grad for one in self.network.parameters() if one.grad is not None]
        bad = ~torch.isfinite(torch.stack(torch._foreach_norm(gradients)).sum())
        for one in gradients:
            torch.nan_to_num_(one, 0.0, 0.0, 0.0)
        self.zeroed += bad
        return bad

    def update(self, norm: Tensor) -> None:
        """Change the weights unless the norm of the gradients is not finite, which is counted on the device.

        Gradients are averaged over ranks by then, so all ranks skip together.
        """
        if not self.closes:
            return
        bad = ~torch.isfinite(norm)
        if self.scaler.is_enabled():  # skips by itself, and must see the step to lower its scale
            self.scaler.step(self.optimizer)
            self.scaler.update()
        elif not self.waits:
            fused: Any = self.optimizer  # whose kernel reads two attributes that torch does not declare
            fused.grad_scale, fused.found_inf = None, bad.float()
            self.optimizer.step()
        elif not bad:
            self.optimizer.step()
        total, row, longest = self.skips
        row = (row + 1) * bad
        self.skips.copy_(torch.stack([total + bad, row, torch.maximum(longest, row)]))

    def count_step(self) -> None:
        """After a step. Raises Diverged when MAX_SKIPS in a row had nothing finite, which a card is asked seldom."""
        self.step += 1
        if self.step % self.reads_every == 0 and int(self.skips[2]) >= MAX_SKIPS:
            raise Diverged(
                f"training diverged: {MAX_SKIPS} steps in a row had a loss or gradient that is not finite; "
                "lower --optimizer.lr, or look at the data with `python -m models.prepare --audit`"
            )

    def minimise(self, loss: Tensor) -> None:
        """A whole step from a loss, as models.train makes it; for benchmarks and tests."""
        self.set_lr()
        self.zero_grad()
        self.scale(loss).backward()
        self.update(self.clip_gradients())
        self.count_step()

    @property
    def lr(self) -> float:
        if self.options.schedule == "step":
            return self.peak_lr * self.options.decay ** (self.step // self.options.decay_steps)
        return self.peak_lr * SCHEDULES[self.options.schedule](self.step / self.total_steps)

    @property
    def skipped(self) -> int:
        """Steps without a finite gradient; waits for the device."""
        return int(self.skips[0])

    @property
    def zeroed_steps(self) -> int:
        """Steps with gradients that --nonfinite zero set to 0; waits for the device."""
        return int(self.zeroed)

    def state_dict(self) -> dict:
        return {
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "step": self.step,
            "skipped": self.skipped,
            "zeroed": self.zeroed_steps,
        }

    def load_state_dict(self, state: dict, same_kind: bool = True) -> None:
        """Also that of another device. Rates and switches are this run's own; of an optimiser of another kind
        (not `same_kind`) the count of steps alone is of use.
        """
        if same_kind:
            own = self.optimizer.state_dict()["param_groups"]
            self.optimizer.load_state_dict({**state["optimizer"], "param_groups": own})
            for group in self.optimizer.param_groups:
                group["lr"] = self.initial_lr()
            if state["scaler"] and self.scaler.is_enabled():  # empty where the precision needs none
                self.scaler.load_state_dict(state["scaler"])
        self.step = state["step"]
        self.skips = torch.tensor([state["skipped"], 0, 0], device=self.device.torch)
        self.zeroed = torch.tensor(state.get("zeroed", 0), device=self.device.torch)
