"""Twins of a run, alike but for one thing left out, so that the difference says what that thing costs.

`--input memory` uses the same few batches again and again, `--input synthetic` needs no data set at all;
`--without compute` only loads, `--without sync` leaves gradients where they are; none of them validates or writes
checkpoints, and `--without validation` leaves out just that. bench/attribute.py runs them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from itertools import cycle, islice

from torch import nn

from models.dataset import Batch
from models.run.options import Common

STAND_INS = ("memory", "synthetic")  # what stands in for the data set under --input
KEPT = 8  # batches: enough that none is still in a processor's cache when its turn comes again

# Whose time a profiled operation is, by a pattern of its name. The first that matches counts.
KINDS = {
    "ctc": r"ctc_loss|log_softmax",
    "convolution": r"conv|winograd|batch_norm|max_pool",
    "recurrent": r"lstm|gru|rnn",
    "optimizer": r"optimizer|foreach|addcmul|addcdiv|clip_grad|_fused_adam",
    "communication": r"nccl|cncl|gloo|allreduce|all_reduce|c10d|broadcast",
    "linear": r"addmm|\bmm\b|bmm|linear",
    "copies": r"copy|memcpy|_to_copy|contiguous",
}


class Kept:
    """The first batches of a loader, again and again, without end."""

    def __init__(self, batches: Iterable[Batch], count: int = KEPT):
        self.batches, self.count = batches, count
        self.kept: list[Batch] = []

    def __iter__(self) -> Iterator[Batch]:
        self.kept = self.kept or list(islice(self.batches, self.count))
        return cycle(self.kept)


def fed(batches: Iterable[Batch], options: Common) -> Iterable[Batch]:
    """What the loop gets to eat under --input."""
    return Kept(batches) if options.input in STAND_INS else batches


def synchronised(network: nn.Module, without: str | None):
    """A context in which gradients are averaged over ranks, or under --without sync are not."""
    return network.no_sync() if without == "sync" and hasattr(network, "no_sync") else nullcontext()


def is_twin(options: Common) -> bool:
    """A twin is neither validated nor saved: it learns nothing that anybody wants."""
    return options.input in STAND_INS or getattr(options, "without", None) is not None
