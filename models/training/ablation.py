"""Ablations of a run: alike but for one thing left out, so that the difference says what that thing costs.

`--input memory` uses the same few batches again and again, `--input synthetic` needs no data set at all;
`--without compute` only loads, `--without sync` does not exchange gradients; none of them is validated or
checkpointed, and `--without validation` leaves out just that. bench/attribute.py runs them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import cycle, islice

from models.dataset import Batch
from models.run.options import Common

FAKE_INPUTS = ("memory", "synthetic")  # of --input: what replaces the data set
REPEATED = 8  # batches: enough that none is still in a processor's cache when its turn comes again

# Whose time a profiled operation is, by a pattern of its name. The first that matches counts.
KINDS = {
    "ctc": r"ctc_loss|log_softmax|logaddexp|scatter_add|\bgather\b",  # of network/ctc_loss.py, too
    "convolution": r"conv|winograd|batch_norm|max_pool",
    "recurrent": r"lstm|gru|rnn",
    "optimizer": r"optimizer|foreach|addcmul|addcdiv|clip_grad|_fused_adam",
    "communication": r"nccl|cncl|gloo|allreduce|all_reduce|c10d|broadcast",
    "linear": r"addmm|\bmm\b|bmm|linear",
    "copies": r"copy|memcpy|_to_copy|contiguous",
}


class RepeatBatches:
    """The first batches of a loader, over and over, without end."""

    def __init__(self, batches: Iterable[Batch], count: int = REPEATED):
        self.batches, self.count = batches, count
        self.first: list[Batch] = []

    def __iter__(self) -> Iterator[Batch]:
        self.first = self.first or list(islice(self.batches, self.count))
        return cycle(self.first)


def select_input(batches: Iterable[Batch], options: Common) -> Iterable[Batch]:
    """The batches to iterate over, as --input says."""
    return RepeatBatches(batches) if options.input in FAKE_INPUTS else batches


def is_ablation(options: Common) -> bool:
    """Ablation runs are not validated or checkpointed; their weights are useless."""
    return options.input in FAKE_INPUTS or getattr(options, "without", None) is not None
