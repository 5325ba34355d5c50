"""A training step captured once as a CUDA graph and replayed: the host then only copies a batch and launches it.

Capturing needs fixed addresses and nothing that asks the host: device_batch.py, models/network/ctc_loss.py and the
capturable update of optimizer.py see to that. After https://docs.pytorch.org/docs/stable/notes/cuda.html#cuda-graphs
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from bench.errors import UserError
from bench.machine.device import Device
from bench.machine.world import World
from models.dataset import Batch
from models.run.options import Exchange, Train
from models.training.device_batch import DeviceBatch
from models.training.exchange import FlatGradients
from models.training.optimizer import GuardedOptimizer, has_fused_kernel

WARMUP = 3  # steps made eagerly first: libraries choose their kernels, the optimiser allocates its state
Capture = Callable[[Callable[[], Tensor]], tuple[Callable[[], object], Tensor]]


class CUDAGraphStep:
    """A training step, from a batch on the host to its loss, replayed for every batch of the first one's shape.

    Others, such as the last of an epoch, take the step eagerly. `to_device` is what brings a batch to the device;
    `train_step` accepts one that is there. `capture` makes of a function one that repeats its work on the same
    addresses; tests put in one that needs no GPU.
    """

    def __init__(
        self,
        train_step: Callable[[DeviceBatch], Tensor],
        to_device: Callable[[Batch], DeviceBatch],
        capture: Capture | None = None,
        warmup: int = WARMUP,
    ):
        self.train_step, self.to_device = train_step, to_device
        self.capture, self.warmup_left = capture or capture_graph, warmup
        self.static: DeviceBatch | None = None  # whose addresses the graph reads
        self.replay: Callable[[], object] | None = None
        self.loss: Tensor | None = None  # where it writes

    def __call__(self, batch: Batch) -> Tensor:
        """The loss, detached. Nothing waits for the GPU."""
        there = self.to_device(batch)
        self.static = static = self.static or there.clone()
        if not static.same_shapes(there):
            return self.train_step(there)
        if self.warmup_left:
            self.warmup_left -= 1
            return on_side_stream(self.train_step, there)
        static.copy_(there)
        if self.replay is None or self.loss is None:
            self.replay, self.loss = self.capture(lambda: self.train_step(static))
        self.replay()
        return self.loss.clone()  # the next replay writes over it


class ExchangedGraphStep:
    """A training step of one rank of several: two graphs, to the gradients and from them, the exchange between them.

    No collective is captured: what is does not depend on NCCL's version, and a rank whose last batch has another shape
    takes it eagerly while others replay.
    """

    def __init__(
        self,
        train_step: Callable[[DeviceBatch], Tensor],
        to_device: Callable[[Batch], DeviceBatch],
        optimizer: GuardedOptimizer,
        gradients: FlatGradients,
        capture: Capture | None = None,
        warmup: int = WARMUP,
    ):
        self.train_step, self.optimizer, self.gradients = train_step, optimizer, gradients
        self.backward = CUDAGraphStep(train_step, to_device, capture, warmup)
        self.capture, self.warmup_left = self.backward.capture, warmup
        self.replay_update: Callable[[], object] | None = None
        optimizer.keeps_gradients = True

    def __call__(self, batch: Batch) -> Tensor:
        """This rank's share of the loss, detached. Nothing waits for the GPU."""
        loss = self.to_gradients(self.backward, batch)
        if self.warmup_left:
            self.warmup_left -= 1
            self.clip_and_update()
            return loss
        if self.replay_update is None:
            self.replay_update, _ = self.capture(self.clip_and_update)
        self.replay_update()
        return loss

    def eager(self, batch: Batch | DeviceBatch) -> Tensor:
        """The same step without a graph, for a profile."""
        loss = self.to_gradients(self.train_step, batch)
        self.clip_and_update()
        return loss

    def to_gradients(self, backward: Callable[[Any], Tensor], batch: Batch | DeviceBatch) -> Tensor:
        """The loss; the mean of all ranks' gradients is where the update reads them."""
        self.gradients.begin_step()
        self.optimizer.closes = False  # `train_step` ends with the backward pass
        loss = backward(batch)
        self.optimizer.closes = True
        self.gradients.exchange()
        return loss

    def clip_and_update(self) -> Tensor:
        norm = self.optimizer.clip_gradients()
        self.optimizer.update(norm)
        return norm


def on_side_stream(train_step: Callable[[DeviceBatch], Tensor], batch: DeviceBatch) -> Tensor:
    """The step on a stream other than the default one, as steps before a capture must be."""
    if not batch.images.is_cuda:
        return train_step(batch)
    stream, before = torch.cuda.Stream(), torch.cuda.current_stream()
    stream.wait_stream(before)
    with torch.cuda.stream(stream):
        loss = train_step(batch)
    before.wait_stream(stream)
    return loss


def capture_graph(work: Callable[[], Tensor]) -> tuple[Callable[[], object], Tensor]:
    """A CUDA graph of the work, which capturing does not do, and where its result will be."""
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    # Batches are being made in another thread, which may allocate meanwhile.
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        result = work()
    return graph.replay, result


def check_graph(options: Train, device: Device, world: World) -> None:
    """Raises UserError when --graph cannot capture the step, with the reason."""
    for wrong, reason in (
        (not device.kind.graphs, f"a GPU, and this is {device.kind.name}"),
        (
            world.size > 1 and options.exchange.bucket_mb != Exchange.bucket_mb,
            "one exchange of all gradients on several cards: leave --exchange.bucket-mb out, it is of DDP's hooks",
        ),
        (options.model.head != "ctc", "a CTC head: attention asks the host for its lengths"),
        (options.data.keep_ratio, "images of one width: --data.keep-ratio gives every batch its own"),
        (not has_fused_kernel(options.optimizer.name, device), "--optimizer.name adam or adamw: others ask the host"),
    ):
        if options.graph and wrong:
            raise UserError(f"--graph needs {reason}")
