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
from functools import partial
from pathlib import Path
from statistics import median
from typing import Annotated, Literal

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import torch
from tabulate import tabulate

from bench.errors import run_cli
from bench.options import Bounds, Command
from benchmarks.against_peers import turns
from benchmarks.loader import repeat
from models.data.charset import Charset
from models.data.opening import open_source
from models.data.prefetch import Prefetcher
from models.dataset import normalise, open_dataset
from models.decoding.decoder import Decoder
from models.engines.table import choose_engine
from models.run.context import Context, make_network, make_shape, make_test_batches, open_context
from models.run.options import Infer
from models.scoring.evaluate import predict
from models.test import recognise

BAR = 0.95


@dataclass
class EndToEndOptions:
    """Measure reading from a file to texts."""

    dataset: str = "data/sample"
    """Any data set of encoded pictures"""
    split: str = "train"
    precision: Literal["FP32", "AMP"] = "FP32"
    engine: str = "prepacked"
    """As models.test has them"""
    batch: Annotated[int, Bounds(1)] = 64
    pictures: Annotated[int, Bounds(1)] = 512
    """Read in each round"""
    rounds: Annotated[int, Bounds(1)] = 5
    clock: Literal["wall", "cpu"] = "wall"


COMMAND = Command("benchmarks.end_to_end", EndToEndOptions, "--dataset data/sample --precision AMP")


def rows_of(context: Context, store: Path, options: EndToEndOptions) -> dict[str, Callable[[], object]]:
    """What is measured, the network alone first."""
    device, charset = context.device, Charset.named(context.options.data.charset)
    data = open_dataset(store, "test", make_shape(context.options.data), charset)
    from_file = make_test_batches(context, data)
    kept = list(from_file)
    pictures = [normalise(batch.images, device.torch) for batch in kept]
    network_ = make_network(context, charset).eval()
    engine = choose_engine(options.engine, network_, device, charset, pictures[0], context.say)
    read = partial(recognise, network=engine, decoder=Decoder(charset), device=device)

    @torch.inference_mode()
    def network() -> None:
        with device.autocast():
            for images in pictures:
                engine(images)

    return {
        "network alone": network,
        "memory to text": lambda: predict(read, kept, device),
        "LMDB to text": lambda: predict(read, from_file, device),
        "LMDB to text, a thread ahead": lambda: predict(read, Prefetcher(from_file), device),
    }


def table(seconds: dict[str, list[float]], pictures: int) -> str:
    alone, rows = seconds["network alone"], []
    for name, each in seconds.items():
        shares = [one / other for one, other in zip(alone, each, strict=True)]
        rows.append([name, pictures / median(each), median(shares), min(shares), max(shares)])
    return tabulate(rows, ["", "images/s", f"share (bar {BAR:g})", "least", "most"], "github",
                    floatfmt=("", ".0f", ".3f", ".3f", ".3f"))  # fmt: skip


def main(argv: list[str] | None = None) -> None:
    options = COMMAND.parse(argv)
    clock = {"wall": time.perf_counter, "cpu": time.process_time}[options.clock]
    with tempfile.TemporaryDirectory() as folder:
        store = repeat(open_source(options.dataset, options.split), Path(folder) / "lmdb", options.pictures)
        words = {"dataset": str(store), "precision": options.precision, "batch_size": options.batch}
        with open_context(Infer(device="CPU", **words)) as context:
            seconds = turns(rows_of(context, store, options), options.rounds, clock)
    print(f"{torch.get_num_threads()} threads, batch {options.batch}, {options.precision}, {options.engine}")
    print(table(seconds, options.pictures))


if __name__ == "__main__":
    run_cli(main, "benchmarks.end_to_end")
