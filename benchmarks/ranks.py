"""Processes that train together for a few steps, and how long those took: what growth.py and links.py start.

python -m benchmarks.ranks OUT.json OPTIONS      one process; RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT say which
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parent.parent
FIRST = 2  # steps before those that count: torch lays its buckets anew after the first
KINDS = ("alone_s", "together_s")


@dataclass(frozen=True)
class Together:
    """What every process does."""

    batch: int = 4
    steps: int = 5  # of each kind, in turns: ones that exchange nothing, and ones that do
    bucket_mb: int = 25
    gradients: str = "float32"


def trained(
    together: Together,
    folder: Path,
    ranks: int,
    address: str = "127.0.0.1",
    prefixes: Sequence[Sequence[str]] | None = None,
    **environment: str,
) -> dict[str, float]:
    """Median seconds of a step of each kind, by the slowest process of each, and of one hop of their ring.

    prefixes: a command for each process to be started by, such as one that enters a network namespace.
    """
    from bench.errors import UserError

    running = []
    for rank in range(ranks):
        place = {"RANK": str(rank), "WORLD_SIZE": str(ranks), "MASTER_ADDR": address, "MASTER_PORT": "29611",
                 "OMP_NUM_THREADS": "1", "TORCH_CPP_LOG_LEVEL": "ERROR"}  # fmt: skip
        words = [sys.executable, "-m", "benchmarks.ranks", str(folder / f"{rank}.json"), json.dumps(asdict(together))]
        there = [*(prefixes[rank] if prefixes else ()), *words]
        running.append(subprocess.Popen(there, env={**os.environ, **place, **environment}, cwd=ROOT))
    try:
        codes = [one.wait() for one in running]
    finally:
        for one in running:
            one.kill()
    if any(codes):
        raise UserError(f"processes that train together ended with {codes}; their words are above")
    found = [json.loads((folder / f"{rank}.json").read_text()) for rank in range(ranks)]
    slowest = {kind: [max(each) for each in zip(*(one[kind] for one in found), strict=True)] for kind in KINDS}
    return {kind: median(seconds) for kind, seconds in slowest.items()} | {"hop_s": found[0]["hop_s"]}


def step_of(network, batch: int) -> Callable[[bool], None]:
    """step(exchange) trains on the same random images again; without `exchange` gradients stay where they are."""
    import torch

    from bench.machine.device import Device
    from models.run.options import Optimizer
    from models.training.optimizer import GuardedOptimizer

    torch.manual_seed(0)
    images, labels = torch.rand(batch, 1, 32, 100) * 2 - 1, torch.randint(1, 37, (batch * 4,))
    steps, lengths = torch.full((batch,), 26), torch.full((batch,), 4)
    optimizer = GuardedOptimizer(network, Device.open("CPU"), Optimizer(), 1e-4, 1 << 30)

    def step(exchange: bool) -> None:
        with nullcontext() if exchange else network.no_sync():
            loss = network.module.head.loss(network(images), steps, labels, lengths)
            optimizer.minimise(loss)

    return step


def main(path: str, asked: str) -> None:
    """One process: time its steps, and write them."""
    import torch
    import torch.distributed as dist

    from bench.machine.device import Device
    from models.network.model import Model
    from models.network.network import build
    from models.run.options import Exchange
    from models.training.exchange import exchange_gradients

    together = Together(**json.loads(asked))
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    torch.manual_seed(0)
    network = build(Model()).to(memory_format=torch.channels_last)
    network = exchange_gradients(network, Device.open("CPU"), Exchange(together.gradients, together.bucket_mb))
    step, seconds = step_of(network, together.batch), {kind: [] for kind in KINDS}
    for number in range(FIRST + together.steps):
        for kind in KINDS:
            dist.barrier()
            began = time.perf_counter()
            step(kind == "together_s")
            if number >= FIRST:
                seconds[kind].append(time.perf_counter() - began)
    Path(path).write_text(json.dumps(seconds | {"hop_s": hop_s(dist, torch.zeros(1))}))
    dist.destroy_process_group()


def hop_s(dist, number, rounds: int = 50) -> float:
    """Seconds of one hop: the exchange of a single number is 2 (n - 1) of them and nothing else."""
    dist.all_reduce(number)
    began = time.perf_counter()
    for _ in range(rounds):
        dist.all_reduce(number)
    return (time.perf_counter() - began) / rounds / (2 * max(1, dist.get_world_size() - 1))


if __name__ == "__main__":
    main(*sys.argv[1:])
