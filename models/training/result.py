"""What training leaves in the record: the loss of each step, and how far it came."""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass, field
from functools import reduce

import torch
from torch import Tensor

from bench.machine.world import World
from bench.records.sections import TrainingResult
from models.training.anomalies import AnomalyMonitor
from models.training.optimizer import GuardedOptimizer
from models.training.snapshot import Position, Snapshots


@dataclass
class LossHistory:
    """This rank's share of the loss of each step, times the number of ranks; on the device until it is read."""

    ranks: int
    values: list[float | Tensor] = field(default_factory=list)
    validated: int = 0  # how many there were at the newest validation
    before: tuple[float, float] = (0.0, 0.0)  # sum and number of those after it that are of before a stop

    def append(self, loss: Tensor) -> None:
        self.values.append(loss)

    def since_validation(self, world: World) -> list[tuple[float, float]]:
        """Sum and number of the losses after the newest validation, of each rank. Every rank calls it."""
        mine = self.read()[self.validated :]
        # One after the other, as sum() no longer does: a run that was stopped in between adds up to the same bits.
        return world.gather((reduce(operator.add, mine, self.before[0]), self.before[1] + len(mine)))

    def mean_since_validation(self, world: World) -> float:
        """The mean of these; infinite where there is none or one is not finite."""
        total, count = (sum(some) for some in zip(*self.since_validation(world), strict=True))
        mean = total / count if count else math.inf
        return mean if math.isfinite(mean) else math.inf

    def begin_validation(self) -> None:
        """From now on, losses count for the next one."""
        self.validated, self.before = len(self.values), (0.0, 0.0)

    def go_on(self, kept: list[tuple[float, float]], world: World) -> None:
        """After those of `since_validation` of a run that was stopped, with as many ranks or others."""
        if len(kept) == world.size:
            self.before = kept[world.rank][0], kept[world.rank][1]
        elif world.leads and kept:
            self.before = sum(total for total, _ in kept), sum(count for _, count in kept)

    def read(self) -> list[float]:
        """All losses so far as numbers; those still on the device are copied to the host at once."""
        pending = [(i, loss) for i, loss in enumerate(self.values) if isinstance(loss, Tensor)]
        numbers = torch.stack([loss for _, loss in pending]).tolist() if pending else []
        for (i, _), number in zip(pending, numbers, strict=True):
            self.values[i] = number * self.ranks
        return [float(loss) for loss in self.values]


def training_progress(
    position: Position,
    optimizer: GuardedOptimizer,
    monitor: AnomalyMonitor,
    snapshots: Snapshots,
    restarts: int,
    stopped_early: bool,
) -> TrainingResult:
    """How far training came, as far as this rank alone knows: other ranks of a failed run may be gone."""
    return {
        "epochs": position.epoch,
        "steps": optimizer.step,
        "total_steps": optimizer.total_steps,
        "skipped_steps": optimizer.skipped,
        **({"zeroed_steps": optimizer.zeroed_steps} if optimizer.nonfinite == "zero" else {}),
        "noticed": list(monitor.noticed.values()),
        "resumed_from_step": snapshots.resumed_step,
        "restarts": restarts,
        "stopped_early": stopped_early,
    }


def gather_result(progress: TrainingResult, losses: LossHistory, world: World) -> TrainingResult:
    """`progress` with the losses of all ranks. Every rank calls it."""
    per_rank = world.gather(losses.read())
    return {
        **progress,
        "loss": [sum(step) / len(step) for step in zip(*per_rank, strict=True)],
        "restarts": max(world.gather(world.restarts)),
    }
