"""FP32 with the vendor's convolutions and with Winograd's: `python -m benchmarks.kernels`.

The plain CRNN on a CPU, training (forward, loss, backward, clip, fused Adam) and reading of one batch in memory. Both
kernels take turns, round after round, so that what else the machine does hits both; the gain is the median over rounds
of vendor / winograd in the same round. CPU seconds are given beside wall time: a busy machine disturbs them less.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Annotated

import torch
from tabulate import tabulate
from torch import nn

from bench.errors import run_cli
from bench.options import Bounds, Command
from bench.records.provenance import cpu_name
from models.network.model import Model
from models.network.network import build
from models.network.winograd import use_winograd

KERNELS = ("vendor", "winograd")
HEIGHT, WIDTH, LENGTH = 32, 100, 8  # px; characters of a label


@dataclass
class KernelsOptions:
    """Compare the kernels of --kernels on this machine."""

    batch_size: Annotated[int, Bounds(1)] = 64
    rounds: Annotated[int, Bounds(1)] = 9
    steps: Annotated[int, Bounds(1)] = 3
    """Of each kernel and task in a round"""


COMMAND = Command("benchmarks.kernels", KernelsOptions, "--rounds 3")


def make_network(kernels: str) -> nn.Module:
    torch.manual_seed(0)
    network = build(Model()).to(memory_format=torch.channels_last)
    if kernels == "winograd":
        use_winograd(network)
    return network


def make_training(kernels: str, images: torch.Tensor) -> Callable[[], object]:
    network = make_network(kernels).train()
    optimizer = torch.optim.Adam(network.parameters(), 1e-4, fused=True)
    lengths = torch.full((len(images),), LENGTH)
    labels = torch.randint(1, network.classes, (len(images) * LENGTH,))
    time_steps = torch.full((len(images),), network.time_steps(WIDTH))

    def step() -> None:
        loss = network.head.loss(network(images), time_steps, labels, lengths)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()

    return step


def make_reading(kernels: str, images: torch.Tensor) -> Callable[[], object]:
    network = make_network(kernels).eval()
    return torch.inference_mode()(lambda: network(images))


def seconds_of(step: Callable[[], object], steps: int) -> tuple[float, float]:
    """Wall and CPU seconds of a step."""
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(steps):
        step()
    return (time.perf_counter() - wall) / steps, (time.process_time() - cpu) / steps


def compare(task: str, steps: dict[str, Callable[[], object]], options: KernelsOptions) -> list[tuple]:
    """Rows of the table: images/s by wall time and by CPU time, and the gain of each kernel over the vendor's."""
    for step in steps.values():
        step()  # first call: allocations, kernels chosen
    rounds = [{name: seconds_of(step, options.steps) for name, step in steps.items()} for _ in range(options.rounds)]
    rows = []
    for name in steps:
        speeds = [options.batch_size / median(one[name][clock] for one in rounds) for clock in (0, 1)]
        gains = [median(one["vendor"][clock] / one[name][clock] for one in rounds) for clock in (0, 1)]
        rows.append((task, name, *(f"{speed:.1f}" for speed in speeds), *(f"{gain:.2f}" for gain in gains)))
    return rows


def main(argv: list[str] | None = None) -> None:
    options = COMMAND.parse(argv)
    images = torch.rand(options.batch_size, 1, HEIGHT, WIDTH) * 2 - 1
    images = images.contiguous(memory_format=torch.channels_last)
    rows = []
    for task, make in {"training": make_training, "reading": make_reading}.items():
        rows += compare(task, {name: make(name, images) for name in KERNELS}, options)
    load = os.getloadavg()[0]
    print(f"{cpu_name()}, {torch.get_num_threads()} threads, torch {torch.__version__}, load {load:.1f}: "
          f"{options.rounds} rounds of {options.steps} steps of {options.batch_size} images")  # fmt: skip
    headers = ("task", "kernels", "images/s", "images/s of CPU time", "gain", "gain, CPU time")
    print(tabulate(rows, headers, "github", disable_numparse=True))


if __name__ == "__main__":
    run_cli(main, "benchmarks.kernels")
