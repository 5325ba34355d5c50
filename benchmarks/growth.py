"""How cost grows: images/s against batch, threads, width and alphabet: `python benchmarks/growth.py --out growth.png`.

One axis at a time, the others as the field has them (batch 64, 32 x 100, 37 classes, all threads). With --clock cpu the
rates are a CPU second's, which a busy machine changes less.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch
import torch.nn.functional as F
from tabulate import tabulate

from bench.device import Device
from bench.refusal import answer
from benchmarks.against_peers import CLOCKS, turns
from models.model import Model
from models.options import Optimizer, parse
from models.recogniser import build
from models.training.optimise import Stepper

AXES = {
    "batch": (1, 4, 16, 64, 256, 1024),
    "threads": (1, 2, 4, 8, 16),
    "width": (32, 100, 200, 400, 800),
    "classes": (37, 95, 1000, 6000, 30000),
}


@dataclass
class Options:
    """Measure how cost grows."""

    axes: str = ",".join(AXES)
    """Some of the axes, with commas between"""
    most: int = 1024
    """Leave out batches larger than this"""
    batch: int = 64
    rounds: int = 3
    precision: str = "FP32"
    clock: str = "wall"
    """wall, or cpu for CPU seconds on a busy machine"""
    out: Path | None = None
    """Plot to this file"""


@dataclass(frozen=True)
class Point:
    """One size on every axis."""

    batch: int = 64
    threads: int = 1
    width: int = 100
    classes: int = 37


def points(axis: str, options: Options) -> list[Point]:
    here = {"batch": options.batch, "threads": torch.get_num_threads()}
    limit = {"batch": options.most, "threads": here["threads"]}.get(axis, max(AXES[axis]))
    return [Point(**{**here, axis: value}) for value in AXES[axis] if value <= limit]


def work(point: Point, precision: str) -> dict[str, Callable[[], object]]:
    """A step of training and one of inference at this point."""
    device = Device.open("CPU", precision)
    torch.manual_seed(0)
    network = build(Model(), point.classes).to(memory_format=torch.channels_last)
    stepper = Stepper(network, device, Optimizer(), 1e-4, 1 << 30)
    images = torch.rand(point.batch, 1, 32, point.width) * 2 - 1
    labels = torch.randint(1, point.classes, (point.batch, 4))

    def train() -> None:
        network.train()
        with device.autocast():
            logits = network(images)
        full = torch.full((point.batch,), len(logits)), torch.full((point.batch,), 4)
        stepper(F.ctc_loss(logits.float().log_softmax(2), labels, *full, zero_infinity=True))

    @torch.inference_mode()
    def infer() -> None:
        network.eval()
        with device.autocast():
            network(images)

    return {"train": train, "infer": infer}


def grown(axis: str, options: Options) -> list[list]:
    """Rows: the size, and images/s of training and inference."""
    before, rows = torch.get_num_threads(), []
    for point in points(axis, options):
        torch.set_num_threads(point.threads)
        seconds = turns(work(point, options.precision), options.rounds, CLOCKS[options.clock])
        rows.append([getattr(point, axis), *(point.batch / median(each) for each in seconds.values())])
    torch.set_num_threads(before)
    return rows


def plot(tables: dict[str, list[list]], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4 * len(tables), 3), layout="constrained")
    for axes, (axis, rows) in zip(figure.subplots(1, len(tables), squeeze=False)[0], tables.items(), strict=True):
        sizes, *rates = zip(*rows, strict=True)
        for name, rate in zip(("train", "infer"), rates, strict=True):
            axes.loglog(sizes, rate, "o-", label=name)
        axes.set(xlabel=axis, ylabel="images/s")
        axes.legend()
    figure.savefig(path, dpi=120)


def main(argv: list[str] | None = None) -> None:
    options = parse(Options, argv, "benchmarks/growth.py", example="--out growth.png")
    tables = {}
    for axis in options.axes.split(","):
        tables[axis] = grown(axis, options)
        print(tabulate(tables[axis], [axis, "train images/s", "infer images/s"], "github", floatfmt=".1f") + "\n")
    if options.out:
        plot(tables, options.out)


if __name__ == "__main__":
    answer(main, "benchmarks/growth.py")
