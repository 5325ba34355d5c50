"""What many cards would do, from what one did: `python -m bench.project RECORD --bandwidth-gbit 200 --latency-us 5`.

Data parallel training: every card computes its step and the gradients go round a ring, bucket by bucket, as the
backward pass makes them (Patarasuk and Yuan 2009; Li et al. 2020 for torch's buckets). docs/performance.md has the
model next to measurements over links limited on purpose. No torch here.

Not in the model: cards that wait for the slowest of them, other traffic on the link, and a loader that falls behind.
"""

from __future__ import annotations

if not __package__:  # `python bench/project.py`, from any folder: its own is on the path, and not the checkout
    __import__("sys").path.insert(0, __file__.rsplit("/", 2)[0])

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from tabulate import tabulate

from bench.errors import UserError, run_cli
from bench.options import Bounds, Command, Positional
from bench.records.record import Record

CARDS = (8, 16, 32, 64, 128, 256, 512, 1024)
PARAMETERS, CLASSES = 8_331_301, 37  # of CRNN, in records that do not say
BACKWARD = 2 / 3  # of a step's computing: the gradients of inputs and of weights, each as much as the forward pass
FIRST_BUCKET_MB, BUCKET_MB = 1, 25  # MiB, of torch's DistributedDataParallel


@dataclass(frozen=True)
class Link:
    """What joins a card to the next: bytes a second one way, and seconds until the first of them arrives."""

    bytes_per_s: float
    latency_s: float

    def ring(self, size: float, cards: int) -> float:
        """Seconds to sum `size` bytes over a ring: 2 (n - 1) rounds, in each of which a card passes on 1 / n of it."""
        return 2 * (cards - 1) * (size / cards / self.bytes_per_s + self.latency_s)


def buckets(size: float, first: float = FIRST_BUCKET_MB * 2**20, others: float = BUCKET_MB * 2**20) -> Iterator[float]:
    """Bytes of each bucket in the order in which the backward pass fills them."""
    while size > 0:
        yield min(size, first)
        size, first = size - first, others


@dataclass(frozen=True)
class Work:
    """A step on one card: seconds of computing, and bytes of gradients that leave it, in buckets."""

    compute_s: float
    buckets: tuple[float, ...]
    backward: float = BACKWARD  # share of computing, before the end of which gradients become ready evenly

    def step_s(self, cards: int, link: Link) -> float:
        """Until the last bucket has gone round: one at a time, and none before the backward pass has filled it."""
        if cards == 1:
            return self.compute_s
        whole, filled, free = sum(self.buckets), 0.0, 0.0
        for size in self.buckets:
            filled += size
            ready = self.compute_s * (1 - self.backward * (1 - filled / whole))
            free = max(free, ready) + link.ring(size, cards)
        return max(self.compute_s, free)

    def efficiency(self, cards: int, link: Link) -> float:
        """Of the images/s of the same cards without communication."""
        return self.compute_s / self.step_s(cards, link)


def compute_seconds(record: Record) -> float:
    """Seconds of computing in a step of this record. Raises UserError for a record that does not hold it."""
    if record.task != "Train" or record.cell["cards"] != 1:
        raise UserError(f"{record.run}: want the record of a training run on one card, which exchanges nothing")
    mean_ms, wait = record.throughput.get("step_mean_ms"), record.throughput.get("data_wait_share") or 0.0
    if not mean_ms:
        raise UserError(f"{record.run}: measured no step ({record.status})")
    return mean_ms / 1e3 * (1 - wait)


def parameters_of_record(record: Record, given: int | None) -> int:
    """Of the network. Raises UserError for an older record of another network than CRNN, which does not say."""
    known = given or (record.limits[0].get("parameters") if record.limits else None)
    if known:
        return known
    if record.recipe.get("name") == "crnn" and record.cell.get("classes", CLASSES) == CLASSES:
        return PARAMETERS
    raise UserError(f"{record.run}: its record does not say how many parameters it has; give --parameters")


def projection_table(record: Record, options: ProjectOptions) -> str:
    seconds, batch = compute_seconds(record), record.cell["batch_per_card"]
    size = parameters_of_record(record, options.parameters) * options.gradient_bytes
    scale = options.bucket_mb * 2**20
    work = Work(seconds, tuple(buckets(size, min(FIRST_BUCKET_MB * 2**20, scale), scale)), options.backward)
    link = Link(options.bandwidth_gbit * 1e9 / 8, options.latency_us / 1e6)
    rows = []
    for cards in (1, *options.cards):
        step_s = work.step_s(cards, link)
        rows.append([cards, step_s * 1e3, work.efficiency(cards, link), cards * batch / step_s])
    title = (
        f"{record.run} on {record.cell['card']}: {seconds * 1e3:.2f} ms of computing a step of {batch} images, "
        f"{size / 1e6:.1f} MB of gradients; {options.bandwidth_gbit:g} Gbit/s one way, {options.latency_us:g} us"
    )
    headers = ["cards", "ms a step", "efficiency", "images/s"]
    return f"{title}\n\n{tabulate(rows, headers, 'github', floatfmt=('', '.2f', '.3f', ',.0f'))}"


@dataclass
class ProjectOptions:
    """Predict what many cards would do from the record of one."""

    records: Annotated[list[Path], Positional("RECORD")]
    """Of training runs on one card"""
    bandwidth_gbit: Annotated[float, Bounds(above=0)]
    """Gbit/s of a card's link, one way"""
    latency_us: Annotated[float, Bounds(above=0)] = 5.0
    """Of a message to the next card"""
    cards: Annotated[tuple[int, ...], Bounds(1, 1 << 20)] = CARDS
    parameters: Annotated[int | None, Bounds(1)] = None
    """Default: those of the record's network"""
    gradient_bytes: Literal[2, 4] = 4
    """2 when sent as bfloat16"""
    bucket_mb: Annotated[float, Bounds(above=0)] = BUCKET_MB
    """MiB; the default is torch's"""
    backward: Annotated[float, Bounds(above=0, most=1)] = BACKWARD
    """Share of computing"""


COMMAND = Command("bench.project", ProjectOptions, "results/runs/CRNN_AMP_30E_1GPU_Train.*.json --bandwidth-gbit 400")


def main(argv: list[str] | None = None) -> None:
    options = COMMAND.parse(argv)
    print("\n\n".join(projection_table(Record.load(path), options) for path in options.records))


if __name__ == "__main__":
    run_cli(main, "bench.project")
