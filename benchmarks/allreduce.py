"""How fast cards add up gradients: `python -m benchmarks.allreduce --device GPU --cards 4`. nccl, cncl or gloo.

Bandwidths are nccl-tests' (doc/PERFORMANCE.md there): algbw is bytes / time, busbw is algbw x 2 (n - 1) / n, what each
card's link carries in a ring, and comparable with what the link can do. The last line is what bench.project wants.
"""

from __future__ import annotations

import os
import socket
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import torch
import torch.distributed as dist
from tabulate import tabulate
from torch import multiprocessing

from bench.errors import UserError, run_cli
from bench.machine import discovery
from bench.machine.device import Device
from bench.machine.world import World
from bench.options import Bounds, Command

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
WARMUP = 3


@dataclass
class AllreduceOptions:
    """Time all-reduce between the cards of this host, or processes of a CPU."""

    device: Literal["GPU", "MLU", "CPU"] = "CPU"
    cards: Annotated[int, Bounds(2, 1024)] = 2
    kib: Annotated[tuple[int, ...], Bounds(1, 1 << 22)] = (4, 64, 1024, 8192, 32768)
    """Sizes; CRNN's float32 gradients are 32,544 KiB"""
    gradients: Literal["float32", "bfloat16"] = "float32"
    seconds: Annotated[float, Bounds(above=0)] = 0.5
    """Of each size, at least; and at least 5 times"""


COMMAND = Command("benchmarks.allreduce", AllreduceOptions, "--cards 2 --kib 64,8192")


def bus_bandwidth(algorithm: float, cards: int) -> float:
    """busbw of an all-reduce, from its algbw."""
    return algorithm * 2 * (cards - 1) / cards


def time_size(device: Device, size: int, options: AllreduceOptions) -> float:
    """Seconds of one all-reduce: the median of several, each from a drained device to a drained device."""
    values = torch.randn(size // DTYPES[options.gradients].itemsize, device=device.torch).to(DTYPES[options.gradients])
    took: list[float] = []
    # As many on each rank: one that stopped alone would leave the others waiting.
    count, tries = WARMUP + 5, 0
    while tries < count:
        dist.barrier()
        device.synchronize()
        began = time.perf_counter()
        dist.all_reduce(values)
        device.synchronize()
        took.append(time.perf_counter() - began)
        values.mul_(1 / dist.get_world_size())
        tries += 1
        if tries == WARMUP + 1:
            most = torch.tensor([options.seconds / took[-1]], device=device.torch)
            dist.all_reduce(most, dist.ReduceOp.MIN)
            count = WARMUP + int(min(1000.0, max(5.0, float(most))))
    return float(np.median(took[WARMUP:]))


def work(rank: int, port: int, folder: str, options: AllreduceOptions) -> None:
    """One card."""
    names = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": options.cards, "LOCAL_WORLD_SIZE": options.cards}
    os.environ.update({name: str(value) for name, value in names.items()})
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    world, device = World.here(), Device.open(options.device, "FP32", rank)
    if device.kind.name == "CPU":
        torch.set_num_threads(1)
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    world.join(device)
    try:
        times = [time_size(device, kib * 1024, options) for kib in options.kib]
    finally:
        world.leave()
    if world.leads:
        np.save(Path(folder) / "times.npy", np.array(times))


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


def measure(options: AllreduceOptions) -> list[float]:
    """Seconds of each size."""
    with tempfile.TemporaryDirectory() as folder:
        multiprocessing.spawn(work, (free_port(), folder, options), options.cards)
        return [float(seconds) for seconds in np.load(Path(folder) / "times.npy")]


def main(argv: list[str] | None = None) -> None:
    options = COMMAND.parse(argv)
    kind = discovery.DEVICES[options.device]
    if kind.is_card and discovery.present(options.device) < options.cards:
        raise UserError(f"{options.cards} {options.device} asked for; {discovery.count_cards(kind)}")
    times, rows = measure(options), []
    for kib, seconds in zip(options.kib, times, strict=True):
        algorithm = kib * 1024 / seconds
        rows.append([kib, seconds * 1e6, algorithm / 1e9, bus_bandwidth(algorithm, options.cards) / 1e9])
    print(f"{kind.backend}, {options.cards} x {options.device}, {options.gradients}")
    print(tabulate(rows, ("KiB", "us", "algbw GB/s", "busbw GB/s"), "github", floatfmt=("", ",.0f", ".2f", ".2f")))
    of_the_largest = max(rows)[3]
    hop_us = min(times) / (2 * (options.cards - 1)) * 1e6
    print(f"\npython -m bench.project RECORD --bandwidth-gbit {of_the_largest * 8:.3g} --latency-us {hop_us:.3g}")


if __name__ == "__main__":
    run_cli(main, "benchmarks.allreduce")
