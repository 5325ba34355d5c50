"""How cost grows, an axis a command: `python -m benchmarks.growth batch` prints a table and draws it to docs/growth.

One axis moves, the others stay as the field has them (batch 64, 32 x 100, 37 classes, all threads). With --clock cpu
the rates are a CPU second's, which a busy machine changes less. `processes` and `buckets` train over gloo on this
machine, `dataset` makes sets of tiny values (benchmarks/full_size.py).
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Annotated, Literal

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch
import torch.nn.functional as F
from tabulate import tabulate

from bench.errors import run_cli
from bench.machine.device import Device
from bench.options import Bounds, Choices, Command, Positional
from benchmarks import full_size
from benchmarks.against_peers import CLOCKS, turns
from benchmarks.ranks import Together, trained
from models.network.model import Model
from models.network.network import build
from models.run.options import Optimizer
from models.training.optimizer import GuardedOptimizer

DRAWINGS = Path(__file__).resolve().parent.parent / "docs" / "growth"
SIZES = {
    "batch": (1, 4, 16, 64, 256, 1024),
    "threads": (1, 2, 4, 8, 16),
    "width": (32, 100, 200, 400, 800),
    "classes": (37, 95, 1000, 6000, 30000),
}
PROCESSES = (1, 2, 4)
BUCKETS_MB = (1, 5, 25, 100)
RECORDS = (1_000, 10_000, 100_000, 1_000_000, 9_000_000)


@dataclass
class GrowthOptions:
    """Measure how cost grows along one axis."""

    axis: Annotated[str, Positional("AXIS"), Choices((*SIZES, "processes", "buckets", "dataset"))]
    most: Annotated[int, Bounds(1)] = 9_000_000
    """Leave out sizes larger than this"""
    batch: Annotated[int, Bounds(1)] = 64
    rounds: Annotated[int, Bounds(1)] = 3
    precision: Literal["FP32", "AMP", "BF16"] = "FP32"
    clock: Annotated[str, Choices(tuple(CLOCKS))] = "wall"
    """cpu: CPU seconds, on a busy machine"""
    out: Path = DRAWINGS
    """Folder of the drawing"""


COMMAND = Command("benchmarks.growth", GrowthOptions, "width --rounds 5")


@dataclass(frozen=True)
class Point:
    """One size on every axis."""

    batch: int = 64
    threads: int = 1
    width: int = 100
    classes: int = 37


@dataclass(frozen=True)
class Table:
    """Rows of a size and what was measured there. `lines` are the columns that are drawn."""

    headers: tuple[str, ...]
    rows: list[list]
    unit: str = "images/s"
    lines: tuple[int, ...] = (1, 2)


def points(axis: str, options: GrowthOptions) -> list[Point]:
    here = {"batch": options.batch, "threads": torch.get_num_threads()}
    most = min(options.most, here["threads"] if axis == "threads" else options.most)
    return [Point(**{**here, axis: value}) for value in SIZES[axis] if value <= most]


def work(point: Point, precision: str) -> dict[str, Callable[[], object]]:
    """A step of training and one of inference at this point."""
    device = Device.open("CPU", precision)
    torch.manual_seed(0)
    network = build(Model(), point.classes).to(memory_format=torch.channels_last)
    optimizer = GuardedOptimizer(network, device, Optimizer(), 1e-4, 1 << 30)
    images = torch.rand(point.batch, 1, 32, point.width) * 2 - 1
    labels = torch.randint(1, point.classes, (point.batch, 4))

    def train() -> None:
        network.train()
        with device.autocast():
            logits = network(images)
        full = torch.full((point.batch,), len(logits)), torch.full((point.batch,), 4)
        optimizer.minimise(F.ctc_loss(logits.float().log_softmax(2), labels, *full, zero_infinity=True))

    @torch.inference_mode()
    def infer() -> None:
        network.eval()
        with device.autocast():
            network(images)

    return {"train": train, "infer": infer}


def grown(axis: str, options: GrowthOptions) -> list[list]:
    """Rows: the size, and images/s of training and inference."""
    before, rows = torch.get_num_threads(), []
    for point in points(axis, options):
        torch.set_num_threads(point.threads)
        seconds = turns(work(point, options.precision), options.rounds, CLOCKS[options.clock])
        rows.append([getattr(point, axis), *(point.batch / median(each) for each in seconds.values())])
    torch.set_num_threads(before)
    return rows


def sizes(axis: str) -> Callable[[GrowthOptions], Table]:
    return lambda options: Table((axis, "train images/s", "infer images/s"), grown(axis, options))


def exchanged(options: GrowthOptions, ranks: int, **asked) -> list[float]:
    """Images/s of all these processes together, and their share of what they do when none waits for another."""
    together = Together(batch=options.batch, steps=options.rounds, **asked)
    with tempfile.TemporaryDirectory() as folder:
        found = trained(together, Path(folder), ranks)
    return [ranks * options.batch / found["together_s"], found["alone_s"] / found["together_s"]]


def processes(options: GrowthOptions) -> Table:
    """More processes, a thread each; gradients as float32 and as bfloat16."""
    rows = []
    for ranks in (count for count in PROCESSES if count <= options.most):
        rate, share = exchanged(options, ranks)
        half, half_share = exchanged(options, ranks, gradients="bfloat16")
        rows.append([ranks, rate, half, share, half_share])
    return Table(("processes", "float32 images/s", "bfloat16 images/s", "share alone", "share alone, bfloat16"), rows)


def buckets(options: GrowthOptions) -> Table:
    """Two processes, and how many gradients travel together."""
    rows = [[size, *exchanged(options, 2, bucket_mb=size)] for size in BUCKETS_MB if size <= options.most]
    return Table(("bucket MiB", "images/s", "share alone"), rows, lines=(1,))


def dataset(options: GrowthOptions) -> Table:
    """A set of so many records: to open it, to shuffle it, to read 100 batches, in seconds."""
    rows = []
    for records in (count for count in RECORDS if count <= options.most):
        with tempfile.TemporaryDirectory() as folder:
            found = {name: value for name, value, _ in full_size.measured(Path(folder), records, batch_size=256)}
        rows.append([records, *(found[name] for name in ("open", "shuffle an epoch", "100 shuffled batches"))])
    return Table(("records", "open s", "shuffle s", "100 batches s"), rows, "s", (1, 2, 3))


AXES: dict[str, Callable[[GrowthOptions], Table]] = {
    **{axis: sizes(axis) for axis in SIZES},
    "processes": processes,
    "buckets": buckets,
    "dataset": dataset,
}


def draw(table: Table, path: Path) -> None:
    import matplotlib
    from matplotlib.figure import Figure

    matplotlib.rcParams["svg.fonttype"] = "none"  # letters as text: small, and found by a search
    figure = Figure(figsize=(4, 3), layout="constrained")
    axes = figure.subplots()
    columns = list(zip(*table.rows, strict=True))
    for line in table.lines:
        axes.loglog(columns[0], columns[line], "o-", label=table.headers[line])
    axes.set(xlabel=table.headers[0], ylabel=table.unit)
    axes.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})


def main(argv: Sequence[str] | None = None) -> None:
    options = COMMAND.parse(argv)
    table = AXES[options.axis](options)
    print(tabulate(table.rows, table.headers, "github", floatfmt=("", *[".3g"] * len(table.headers))))
    draw(table, options.out / f"{options.axis}.svg")


if __name__ == "__main__":
    run_cli(main, "benchmarks.growth")
