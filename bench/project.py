"""What many cards would do, from what one did: `python -m bench.project RECORD --bandwidth-gbit 200 --latency-us 5`.

Data parallel training: every card computes its step and the gradients go round a ring, bucket by bucket, as the
backward pass makes them (Patarasuk and Yuan 2009; Li et al. 2020 for torch's buckets). docs/performance.md has the
model next to measurements over links limited on purpose. No torch here.

Not in the model: cards that wait for the slowest of them, other traffic on the link, and a loader that falls behind.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tabulate import tabulate

from bench.errors import UserError, run_cli
from bench.records.record import Record

CARDS = (8, 16, 32, 64, 128, 256, 512, 1024)
PARAMETERS = 8_331_301  # of CRNN with 37 classes
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
        """Of the images/s of so many cards that need not talk."""
        return self.compute_s / self.step_s(cards, link)


def compute_seconds(record: Record) -> float:
    """Seconds of computing in a step of this record. Raises UserError for a record that does not hold it."""
    if record.task != "Train" or record.cell["cards"] != 1:
        raise UserError(f"{record.run}: want the record of a training run on one card, which exchanges nothing")
    mean_ms, wait = record.throughput.get("step_mean_ms"), record.throughput.get("data_wait_share") or 0.0
    if not mean_ms:
        raise UserError(f"{record.run}: measured no step ({record.status})")
    return mean_ms / 1e3 * (1 - wait)


def projection_table(record: Record, options: argparse.Namespace) -> str:
    seconds, batch = compute_seconds(record), record.cell["batch_per_card"]
    size = options.parameters * options.gradient_bytes
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


def positive(text: str) -> float:
    if not (value := float(text)) > 0:
        raise argparse.ArgumentTypeError(f"want a number above zero, not {text}")
    return value


def arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="bench.project",
        description="Predict what many cards would do from the record of one.",
        epilog="example: python -m bench.project results/runs/CRNN_AMP_30E_1GPU_Train.*.json --bandwidth-gbit 400",
        allow_abbrev=False,
    )
    parser.add_argument("records", type=Path, nargs="+", help="of training runs on one card")
    parser.add_argument("--bandwidth-gbit", type=positive, required=True, help="Gbit/s of a card's link, one way")
    parser.add_argument("--latency-us", type=positive, default=5.0, help="of a message to the next card (default: 5)")
    parser.add_argument("--cards", type=int, nargs="+", default=CARDS, help="default: 8 16 ... 1024")
    parser.add_argument("--parameters", type=int, default=PARAMETERS, help="default: CRNN's, 8,331,301")
    parser.add_argument("--gradient-bytes", type=int, default=4, choices=(2, 4), help="2 when sent as bfloat16")
    parser.add_argument("--bucket-mb", type=positive, default=BUCKET_MB, help="MiB (default: 25, torch's)")
    parser.add_argument("--backward", type=positive, default=BACKWARD, help="share of computing (default: 2/3)")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    options = arguments(argv)
    print("\n\n".join(projection_table(Record.load(path), options) for path in options.records))


if __name__ == "__main__":
    run_cli(main, "bench.project")
