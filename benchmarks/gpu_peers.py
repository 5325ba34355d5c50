"""Training steps of ours and of the peers' own code on one card, in turns: `python -m benchmarks.gpu_peers`.

Everybody gets the same pictures, on the card already. The peers train as their train.py does it, in float32 with the
switches that torch has by itself; ours in every precision, plainly and, on a GPU, as one recorded step.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch
import torch.nn.functional as F
from torch import nn

from bench.errors import UserError, run_cli
from bench.machine.device import Device
from bench.options import Bounds, Command
from benchmarks.against_peers import Batch, Peer, network_of, present, rates, turns
from models.dataset import Batch as Pictures
from models.network.model import Model
from models.network.network import build
from models.network.torchvision_schemas import import_torchvision
from models.run.options import Optimizer
from models.training.cuda_graph import CUDAGraphStep
from models.training.device_batch import DeviceBatch, to_device
from models.training.optimizer import GuardedOptimizer


@dataclass
class GpuPeerOptions:
    """Measure training of ours and theirs on one card."""

    peers: Path | None = None
    """Folder that holds clones of the peers"""
    device: Literal["GPU", "MLU", "CPU"] = "GPU"
    batch: Annotated[int, Bounds(1)] = 1024
    rounds: Annotated[int, Bounds(1)] = 5
    steps: Annotated[int, Bounds(1)] = 10
    """Of each row in each round"""


COMMAND = Command("benchmarks.gpu_peers", GpuPeerOptions, "--peers ../peers")


def ours(precision: str, graph: bool, batch: Batch, name: str) -> Callable[[], object]:
    """What models.train does with a batch that is on the card."""
    device = Device.open(name, precision)
    torch.manual_seed(0)
    network = build(Model()).to(device.torch, memory_format=torch.channels_last).train()
    optimizer = GuardedOptimizer(network, device, Optimizer(), 1e-4, 1 << 30, capturable=graph)
    switches = {path: device.switches[path] for path in device.kind.tf32 if path in device.switches}
    images = batch.images.to(device.torch).contiguous(memory_format=torch.channels_last)
    widths, labels = torch.full((len(images),), images.shape[-1]), batch.labels.int()
    blank = torch.zeros(images.shape, dtype=torch.uint8)
    there = to_device(Pictures(blank, widths, labels, batch.lengths.int(), ["x"] * len(images), []), device, network)
    there.images = images  # everybody's are normalised already

    def train_step(batch: DeviceBatch):
        with device.autocast():
            logits = network(batch.images)
        loss = network.head.loss(logits, batch.time_steps, batch.labels, batch.lengths)
        optimizer.zero_grad()
        optimizer.scale(loss).backward()
        optimizer.update(optimizer.clip_gradients())
        return loss.detach()

    learn = CUDAGraphStep(train_step, lambda batch: batch) if graph else train_step

    def step() -> None:
        with_switches(switches)
        optimizer.set_lr()
        learn(there)
        optimizer.count_step()

    return step


def with_switches(switches: dict[str, object]) -> None:
    """Every row sets its own: they are the process's, and rows take turns."""
    for path, value in switches.items():
        *parents, leaf = path.split(".")
        owner = torch
        for parent in parents:
            owner = getattr(owner, parent)
        setattr(owner, leaf, value)


DEFAULTS = {"backends.cuda.matmul.allow_tf32": False, "backends.cudnn.allow_tf32": True}  # torch's own


def theirs(peer: Peer, peers: Path, batch: Batch, device: Device) -> Callable[[], object]:
    """A step of the peer's train.py; lengths on the host, as they all have them."""
    network = network_of(peer, peers).to(device.torch).train()
    optimizer = peer.update(network.parameters())
    images, labels = batch.images.to(device.torch), batch.labels.to(device.torch)

    def step() -> None:
        if device.kind.type == "cuda":
            with_switches(DEFAULTS)
        logs = peer.call(network, images).log_softmax(2)
        steps = torch.full_like(batch.lengths, len(logs))
        loss = F.ctc_loss(logs, labels, steps, batch.lengths, zero_infinity=True)
        optimizer.zero_grad()
        loss.backward()
        if peer.clip:
            nn.utils.clip_grad_norm_(network.parameters(), peer.clip)
        optimizer.step()

    return step


def several(step: Callable[[], object], count: int, device: Device) -> Callable[[], object]:
    """So many steps, and the card drained behind them."""

    def work() -> None:
        for _ in range(count):
            step()
        device.synchronize()

    return work


def main(argv: list[str] | None = None) -> None:
    options = COMMAND.parse(argv)
    device = Device.open(options.device)
    batch = Batch.of(options.batch)
    torch.backends.cudnn.benchmark = True
    import_torchvision()
    graphs = (True, False) if device.kind.type == "cuda" else (False,)
    precisions = ("AMP", "BF16", "TF32", "FP32") if device.kind.type == "cuda" else ("AMP", "FP32")
    rows = {f"ours, {p}{', one graph' * g}": ours(p, g, batch, options.device) for p in precisions for g in graphs}
    for name, peer in present(options.peers).items():
        try:
            rows[name] = theirs(peer, options.peers, batch, device)
        except (UserError, RuntimeError, ImportError, AttributeError) as error:  # old code on a new torch
            print(f"{name}: does not run here: {error}")
    work = {name: several(step, options.steps, device) for name, step in rows.items()}
    seconds = turns(work, options.rounds, time.perf_counter)
    print(f"batch {options.batch}, {options.rounds} rounds of {options.steps} steps")
    print(rates(seconds, options.batch * options.steps), flush=True)


if __name__ == "__main__":
    run_cli(main, "benchmarks.gpu_peers")
