"""What training leaves in the record: the loss of each step, and how far it came."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

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

    def append(self, loss: Tensor) -> None:
        self.values.append(loss)

    def mean_since(self, begin: int, world: World) -> float:
        """The mean from this step on, over all ranks; infinite where there is none or one is not finite."""
        mine = self.read()[begin:]
        both = [sum(some) for some in zip(*world.gather([sum(mine), float(len(mine))]), strict=True)]
        mean = both[0] / both[1] if both[1] else math.inf
        return mean if math.isfinite(mean) else math.inf

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
