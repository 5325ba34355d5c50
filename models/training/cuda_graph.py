"""A training step recorded once as a CUDA graph and replayed: the host then only copies a batch and says go.

Recording wants fixed addresses and nothing that asks the host: models/training/staging.py,
models/network/ctc_loss.py and the capturable update of optimizer.py see to that. After https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from models.training.staging import Staged

WARMUP = 3  # steps made the plain way first: libraries choose their kernels, states of the optimiser come to be
Work = Callable[[Staged], Tensor]


class Graphed:
    """`learn`, a whole step from a staged batch to its loss, replayed for every batch of the first one's shape.

    Others, the last of an epoch, are learned from the plain way. `record` makes of work a function that does it again
    on the same addresses; tests put in one that needs no card.
    """

    def __init__(self, learn: Work, record: Callable[[Callable[[], Tensor]], tuple] | None = None, warmup=WARMUP):
        self.learn, self.record, self.left = learn, record or recorded, warmup
        self.batch: Staged | None = None  # the addresses that the graph reads
        self.replay: Callable[[], object] | None = None
        self.loss: Tensor | None = None  # where it writes

    def __call__(self, batch: Staged) -> Tensor:
        """The loss, detached. Nothing waits for the card."""
        self.batch = self.batch or batch.copy()
        if not self.batch.is_like(batch):
            return self.learn(batch)
        if self.left:
            self.left -= 1
            return aside(self.learn, batch)
        self.batch.take(batch)
        if self.replay is None:
            self.replay, self.loss = self.record(lambda: self.learn(self.batch))
        self.replay()
        return self.loss.clone()  # the next replay writes over it


def aside(learn: Work, batch: Staged) -> Tensor:
    """Done on a stream beside the default one, as steps before a recording must be."""
    if not batch.images.is_cuda:
        return learn(batch)
    stream, before = torch.cuda.Stream(), torch.cuda.current_stream()
    stream.wait_stream(before)
    with torch.cuda.stream(stream):
        loss = learn(batch)
    before.wait_stream(stream)
    return loss


def recorded(work: Callable[[], Tensor]) -> tuple[Callable[[], object], Tensor]:
    """A CUDA graph of the work, which recording does not do, and where its result will be."""
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    # Batches are being made in another thread, which may allocate meanwhile.
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        result = work()
    return graph.replay, result
