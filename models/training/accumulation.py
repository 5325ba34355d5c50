"""Gradient accumulation: several batches a card before one update, for a global batch that does not fit in memory.

The order of an epoch is cut into global batches whatever their size (models/data/sampler.py), so N batches of b are the
images of one batch of N x b. Their gradients add up to its gradient, but for what looks at a batch as a whole: batch
norm, padding to the widest image, augmentation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from itertools import islice
from typing import Any

import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from bench.errors import UserError
from models.dataset import Batch
from models.run.options import Train
from models.scoring.evaluate import count_images
from models.training.optimizer import GuardedOptimizer


class BatchGroups:
    """The batches of a loader, `size` of them together; the last group of an epoch may have fewer."""

    def __init__(self, batches: Iterable[Batch], size: int):
        self.batches, self.size = batches, size

    def __iter__(self) -> Iterator[list[Batch]]:
        batches = iter(self.batches)
        while group := list(islice(batches, self.size)):
            yield group


def count_images_of_step(batches: Batch | list[Batch]) -> int:
    """Images of this rank that count, of a step of one batch or of several."""
    return sum(map(count_images, batches)) if isinstance(batches, list) else count_images(batches)


class AccumulatedStep:
    """A step of several batches: `train_step` on each; the first clears the gradients, the last updates the weights.

    Ranks exchange gradients with the last one only, as DistributedDataParallel.no_sync() has it.
    """

    def __init__(self, train_step: Callable[[Batch], Tensor], optimizer: GuardedOptimizer, model: Any):
        self.train_step, self.optimizer, self.model = train_step, optimizer, model

    def __call__(self, batches: list[Batch]) -> Tensor:
        """The loss: the sum of the batches' shares, on the device."""
        losses = []
        for place, batch in enumerate(batches, 1):
            self.optimizer.opens, self.optimizer.closes = place == 1, place == len(batches)
            with self.keep_gradients() if place < len(batches) else nullcontext():
                losses.append(self.train_step(batch))
        return torch.stack(losses).sum()

    def keep_gradients(self) -> AbstractContextManager[Any]:
        """Inside, a backward pass exchanges nothing."""
        return self.model.no_sync() if isinstance(self.model, DistributedDataParallel) else nullcontext()


def check_accumulation(options: Train, ranks: int) -> None:
    """Raises UserError for what cannot be accumulated, with the reason."""
    for wrong, reason in (
        (options.graph, "--graph, which captures a whole step of one batch"),
        (options.compile and ranks > 1, "--compile on several cards: no one has seen when their gradients travel then"),
        (options.without == "compute", "--without compute, which has no gradients"),
    ):
        if options.accumulate > 1 and wrong:
            raise UserError(f"--accumulate {options.accumulate} does not go with {reason}")
