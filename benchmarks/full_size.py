"""What a data set of Synth90k's size costs to open, to shuffle and to resume: nine million made records of tiny values.

python -m benchmarks.full_size                      makes the LMDB in a temporary folder (about 1 GB, a minute)
python -m benchmarks.full_size --records 900000
"""

from __future__ import annotations

import multiprocessing
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import lmdb
import numpy as np
import psutil
from tabulate import tabulate

from bench.errors import run_cli
from bench.options import Bounds, Command
from models.data.charset import Charset
from models.dataset import EpochSampler, Shape, open_dataset

IMAGE = b"P5 1 1 255 \x80"  # one grey pixel, the smallest image there is


@dataclass
class FullSizeOptions:
    """Measure a data set of full size."""

    records: Annotated[int, Bounds(1)] = 9_000_000
    batch_size: Annotated[int, Bounds(1)] = 256
    folder: Path | None = None
    """Where the LMDB is made, or lies from the last time; default: a temporary folder"""


COMMAND = Command("benchmarks.full_size", FullSizeOptions, "--records 100000")


def main(argv: list[str] | None = None) -> None:
    options = COMMAND.parse(argv)
    with tempfile.TemporaryDirectory() as temporary:
        rows = measured(options.folder or Path(temporary), options.records, options.batch_size)
    print(tabulate(rows, ["a made data set", "measured", "unit"], floatfmt=",.3f"))


def measured(folder: Path, records: int, batch_size: int) -> list[tuple[str, float, str]]:
    """What a set costs that is made in the folder, or lies there: (what, how much, unit)."""
    if not (folder / "data.mdb").exists():
        make(folder, records)
    # a fresh process, as a data loader's worker is
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(measure, folder, batch_size).result()


def make(folder: Path, records: int) -> None:
    """The field's LMDB in the order of its keys, which is the quickest to write."""
    folder.mkdir(parents=True, exist_ok=True)
    size = 256 * records + (1 << 24)
    with lmdb.open(str(folder), map_size=size, sync=False) as environment, environment.begin(write=True) as writing:
        with writing.cursor() as cursor:
            numbers = range(1, records + 1)
            cursor.putmulti(((b"image-%09d" % n, IMAGE) for n in numbers), append=True)
            cursor.putmulti(((b"label-%09d" % n, b"w%x" % n) for n in numbers), append=True)
        writing.put(b"num-samples", b"%d" % records)


def measure(folder: Path, batch_size: int) -> list[tuple[str, float, str]]:
    process = psutil.Process()
    open_dataset(folder, "train", Shape(), Charset()).__getitems__([0])  # loads modules, warms the page cache
    before = process.memory_info().rss
    data, opening = timed(lambda: open_dataset(folder, "train", Shape(), Charset()), time.perf_counter)
    opened = process.memory_info().rss - before
    sampler = EpochSampler(len(data), batch_size, seed=1)
    order, shuffling = timed(sampler.order)
    held = order.nbytes
    del order
    private = private_bytes(process)
    _, reading = timed(lambda: [len(data.__getitems__(indices).texts) for indices in islice(sampler, 100)])
    issues, looking = timed(lambda: data.label_issues(26))
    digest, digesting = timed(lambda: data.digest)
    return [
        ("open", opening, "s"),
        ("memory of a worker after opening", opened / 1e6, "MB"),
        ("memory of its own after 100 shuffled batches", (private_bytes(process) - private) / 1e6, "MB more"),
        ("shuffle an epoch", shuffling, "s of CPU"),
        ("the epoch's order, in the main process", held / 1e6, "MB"),
        ("100 shuffled batches", reading, "s of CPU"),
        ("look at every label for ones that do not fit", looking, "s of CPU"),
        ("labels that do not fit", len(issues), ""),
        (f"digest of all labels and {digest.images:,} images" if digest else "no digest", digesting, "s of CPU"),
        ("samples left after a resume at 3/4 that were seen before", resume_twice(len(data), batch_size), ""),
    ]


def timed(work, clock=time.process_time):
    """What some work gives and the seconds it takes; of CPU, so that what else the machine does counts little."""
    started = clock()
    return work(), clock() - started


def private_bytes(process: psutil.Process) -> int:
    """Memory that this process wrote to; pages of the LMDB are the kernel's cache and are shared."""
    return sum(region.private_dirty for region in process.memory_maps())


def resume_twice(n: int, batch_size: int) -> int:
    """Stop an epoch of 3 ranks after three quarters, go on with 2: samples seen twice or never."""
    first = EpochSampler(n, batch_size, seed=1, world=3)
    start = min(n, len(first) * 3 // 4 * batch_size * 3)
    seen = np.zeros(n, np.uint8)
    seen[first.order()[:start]] += 1
    for rank in range(2):
        for indices in EpochSampler(n, batch_size, seed=1, rank=rank, world=2, start=start):
            seen[[i for i in indices if i >= 0]] += 1
    return int((seen != 1).sum())


if __name__ == "__main__":
    run_cli(main, "benchmarks.full_size")
