"""From an LMDB file to texts, beside the network alone: `python -m benchmarks.end_to_end --dataset DIR`.

Four rows in turns: the network on batches that lie in memory; the same to texts; from the LMDB to texts; and that with
batches made in a thread ahead of the network. A share is the network's time by the row's in the same round.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Literal

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch
from tabulate import tabulate

from bench.errors import run_cli
from benchmarks.against_peers import turns
from benchmarks.loader import repeat
from models.data.formats import open_source
from models.data.prefetch import Prefetcher
from models.dataset import open_dataset
from models.engines.table import choose
from models.run.context import Session, normalised
from models.run.options import Infer, parse
from models.scoring.evaluate import batches_of, read

BAR = 0.95


@dataclass
class Options:
    """Measure reading from a file to texts."""

    dataset: str = "data/sample"
    """Any data set of encoded pictures"""
    split: str = "train"
    precision: Literal["FP32", "AMP"] = "FP32"
    engine: str = "prepacked"
    """As models.test has them"""
    batch: int = 64
    pictures: int = 512
    """Read in each round"""
    rounds: int = 5
    clock: Literal["wall", "cpu"] = "wall"


def rows_of(store: Path, options: Options) -> dict[str, Callable[[], object]]:
    """What is measured, the network alone first."""
    asked = Infer(dataset=str(store), precision=options.precision, batch_size=options.batch, device="CPU")
    session = Session.open(asked)
    data = open_dataset(store, "test", session.shape, session.charset)
    from_file = batches_of(data, session)
    kept = list(from_file)
    pictures = [normalised(batch.images, session.device.torch) for batch in kept]
    engine = choose(options.engine, session.network().eval(), session, pictures[0])

    @torch.inference_mode()
    def network() -> None:
        with session.device.autocast():
            for images in pictures:
                engine(images)

    return {
        "network alone": network,
        "memory to text": lambda: read(engine, kept, session),
        "LMDB to text": lambda: read(engine, from_file, session),
        "LMDB to text, a thread ahead": lambda: read(engine, Prefetcher(from_file), session),
    }


def table(seconds: dict[str, list[float]], pictures: int) -> str:
    alone, rows = seconds["network alone"], []
    for name, each in seconds.items():
        shares = [one / other for one, other in zip(alone, each, strict=True)]
        rows.append([name, pictures / median(each), median(shares), min(shares), max(shares)])
    return tabulate(rows, ["", "images/s", f"share (bar {BAR:g})", "least", "most"], "github",
                    floatfmt=("", ".0f", ".3f", ".3f", ".3f"))  # fmt: skip


def main(argv: list[str] | None = None) -> None:
    options = parse(Options, argv, "benchmarks.end_to_end", example="--dataset data/sample --precision AMP")
    clock = {"wall": time.perf_counter, "cpu": time.process_time}[options.clock]
    with tempfile.TemporaryDirectory() as folder:
        store = repeat(open_source(options.dataset, options.split), Path(folder) / "lmdb", options.pictures)
        seconds = turns(rows_of(store, options), options.rounds, clock)
    print(f"{torch.get_num_threads()} threads, batch {options.batch}, {options.precision}, {options.engine}")
    print(table(seconds, options.pictures))


if __name__ == "__main__":
    run_cli(main, "benchmarks.end_to_end")
