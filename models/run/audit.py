"""What speaks for a test beside its own word, after MLPerf's compliance tests.

The answers of timed passes are those that were scored (TEST01), and what was read before costs what new images cost
(TEST04).
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

import torch

from bench.machine.device import Device
from bench.records.sections import Audit
from models.dataset import Batch, WordDataset
from models.scoring.evaluate import Prediction, Recognise

KEPT = 0.05  # of the answers of later passes, at random
ROUNDS, MOST_ROUNDS, MOST = 3, 15, 32  # batches of each kind, at least and where the two differ, images of a batch
ALIKE = 0.75  # of the new images' time: what was read before takes about as long


@dataclass
class AnswerAudit:
    """Compares what later, timed passes answer with what the first one did."""

    first: dict[int, str] = field(default_factory=dict)
    n: int = 0
    same: int = 0

    def remember(self, predictions: Iterable[Prediction]) -> None:
        self.first = {one.number: one.text for one in predictions}

    def compare(self, predictions: Iterable[Prediction]) -> None:
        """Nobody knows beforehand which answers are kept."""
        draw = random.SystemRandom()
        for one in predictions:
            if one.number in self.first and draw.random() < KEPT:
                self.n += 1
                self.same += self.first[one.number] == one.text

    def section(self) -> Audit:
        return {"timed_n": self.n, "timed_same": self.same} if self.n else {}


def audit_repeats(recognise: Recognise, dataset: WordDataset, device: Device, batch_size: int) -> Audit:
    """What a batch costs at least that was read before, and one with other noise in its images each time.

    Other work on the machine only ever adds: where the fastest of each differ, more rounds are run.
    """
    seen = dataset.__getitems__(list(range(min(batch_size, MOST, len(dataset)))))
    recognise(seen)
    new, repeated = math.inf, math.inf
    for done in range(MOST_ROUNDS):
        if done >= ROUNDS and repeated >= ALIKE * new:
            break
        new = min(new, drained_ms(recognise, with_noise(seen), device))
        repeated = min(repeated, drained_ms(recognise, seen, device))
    return {"repeated_ms": repeated, "new_ms": new}


def with_noise(batch: Batch) -> Batch:
    """The lowest bit of every pixel drawn anew: the same words, and images that nobody has seen."""
    changed = Batch(**vars(batch))
    changed.images = batch.images ^ torch.randint_like(batch.images, 0, 2)
    return changed


def drained_ms(recognise: Recognise, batch: Batch, device: Device) -> float:
    device.synchronize()
    began = time.perf_counter()
    recognise(batch)
    device.synchronize()
    return (time.perf_counter() - began) * 1e3
