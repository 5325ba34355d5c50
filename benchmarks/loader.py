"""How many pictures a second one core turns into uint8 batches, beside Pillow and beside a peer's loader.

    python -m benchmarks.loader --dataset data                   on the genuine pictures there (raw Synth90k)
    python -m benchmarks.loader --dataset data --peer DIR        and clovaai's deep-text-recognition-benchmark in DIR

One process each, its own CPU time, so that what else the machine does counts little. The pictures are written,
repeated, to an LMDB and read in shuffled order; "decoder" is libjpeg-turbo alone out of it: the ceiling of all loaders.
"""

from __future__ import annotations

import importlib.util
import io
import itertools
import re
import statistics
import sys
import tempfile
import time
import types
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import cv2
import lmdb
import numpy as np
import simplejpeg
import torch
from PIL import Image
from tabulate import tabulate

from bench.errors import UserError, run_cli
from bench.options import Bounds, Command
from models.data.charset import Charset
from models.data.conversion import write_packed
from models.data.image import decode, resize
from models.data.opening import open_source
from models.data.resident import ResidentLoader
from models.data.source import Source
from models.dataset import EpochSampler, Shape, WordDataset, open_dataset
from models.network.torchvision_schemas import import_torchvision

BATCH = 256


@dataclass
class LoaderOptions:
    """Measure the loaders."""

    dataset: str = "data"
    """Folder that holds Synth90k/, or any data set of encoded pictures"""
    split: str = "train"
    peer: Path | None = None
    """Checkout of clovaai/deep-text-recognition-benchmark"""
    pictures: Annotated[int, Bounds(1)] = 20_480
    """Read in each round"""
    rounds: Annotated[int, Bounds(1)] = 5


COMMAND = Command("benchmarks.loader", LoaderOptions, "--dataset data --peer ../clovaai")


def main(argv: list[str] | None = None) -> None:
    options = COMMAND.parse(argv)
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    source = open_source(options.dataset, options.split)
    with tempfile.TemporaryDirectory() as folder:
        store = repeat(source, Path(folder) / "lmdb", options.pictures)
        rates = {name: measured(name, store, options) for name in READERS if name != "peer: clovaai" or options.peer}
    ours = statistics.median(rates["LMDB"])
    rows = [[name, statistics.median(r), min(r), max(r), ours / statistics.median(r)] for name, r in rates.items()]
    print(tabulate(rows, ["path", "images/s per core", "least", "most", "LMDB / this"],
                   floatfmt=("", ",.0f", ",.0f", ",.0f", ".2f")))  # fmt: skip
    print(faithfulness(source))


def repeat(source: Source, folder: Path, count: int) -> Path:
    """An LMDB of `count` samples: the source's, over and over."""
    folder.mkdir()
    with lmdb.open(str(folder), map_size=1 << 33) as environment, environment.begin(write=True) as writing:
        for number in range(count):
            writing.put(b"image-%09d" % (number + 1), bytes(source.encoded(number % len(source))))
            writing.put(b"label-%09d" % (number + 1), source.label(number % len(source)).encode())
        writing.put(b"num-samples", b"%d" % count)
    return folder


Reader = Callable[[], int]  # reads one round; gives the number of pictures


def measured(name: str, store: Path, options: LoaderOptions) -> list[float]:
    """One row, in a process of its own: an LMDB must not be opened twice in one."""
    with ProcessPoolExecutor(1) as pool:
        return pool.submit(rate, name, store, options).result()


def rate(name: str, store: Path, options: LoaderOptions) -> list[float]:
    """Images per second of CPU time, for each round after one that warms up."""
    read = READERS[name](store, options)
    read()
    rates = []
    for _ in range(options.rounds):
        started = time.process_time()
        count = read()
        rates.append(count / (time.process_time() - started))
    return rates


def batches(count: int) -> Iterator[list[int]]:
    return iter(EpochSampler(count, BATCH, seed=int(time.time())))


def ours(data: WordDataset) -> Reader:
    return lambda: sum(len(data.__getitems__(indices).texts) for indices in batches(len(data)))


def packed(store: Path) -> WordDataset:
    folder = store.parent / "packed"
    if not folder.exists():
        write_packed(open_source(store, "train"), folder, "benchmark", 1, Shape())
    return open_dataset(folder, "train", Shape(), Charset())


def resident(data: WordDataset) -> Reader:
    whole = ResidentLoader(data, EpochSampler(len(data), BATCH), "cpu")
    return lambda: sum(len(batch.texts) for batch in whole)


def alone(store: Path, picture: Callable[[bytes], np.ndarray]) -> Reader:
    """The same LMDB with another way to a picture."""
    reading = lmdb.open(str(store), readonly=True, lock=False, readahead=False).begin(buffers=True)
    count = int(bytes(reading.get(b"num-samples")))

    def read() -> int:
        for indices in batches(count):
            kept = [picture(reading.get(b"image-%09d" % (i + 1))) for i in indices]
            if kept[0].shape == (32, 100):
                torch.from_numpy(np.stack(kept))
        return count

    return read


def with_pillow(content: bytes) -> np.ndarray:
    picture = Image.open(io.BytesIO(content)).convert("L")
    return np.asarray(picture.resize((100, 32), Image.Resampling.BILINEAR))


def with_opencv(content: bytes) -> np.ndarray:
    return cv2.resize(cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_GRAYSCALE), (100, 32))


def peer(checkout: Path, store: Path) -> Reader:
    """clovaai's LmdbDataset and AlignCollate as they are; what their imports lack today is stood in for."""
    if not (checkout / "dataset.py").is_file():
        raise UserError(f"--peer {checkout}: no dataset.py of clovaai/deep-text-recognition-benchmark there")
    sys.modules.setdefault("natsort", types.SimpleNamespace(natsorted=sorted))
    sys.modules.setdefault("six", types.SimpleNamespace(BytesIO=io.BytesIO))
    torch._utils._accumulate = itertools.accumulate
    import_torchvision()
    spec = importlib.util.spec_from_file_location("clovaai_dataset", checkout / "dataset.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    options = types.SimpleNamespace(data_filtering_off=True, rgb=False, sensitive=False, imgH=32, imgW=100,
                                    character=re.escape(Charset().characters), batch_max_length=25)  # fmt: skip
    data, collate = module.LmdbDataset(str(store), options), module.AlignCollate(32, 100)
    return lambda: sum(len(collate([data[i] for i in indices])[1]) for indices in batches(len(data)))


READERS: dict[str, Callable[[Path, LoaderOptions], Reader]] = {
    "decoder": lambda store, _: alone(store, lambda content: simplejpeg.decode_jpeg(content, "GRAY")),
    "LMDB": lambda store, _: ours(open_dataset(store, "train", Shape(), Charset())),
    "LMDB, keep ratio": lambda store, _: ours(open_dataset(store, "train", Shape(32, 320, 1, True), Charset())),
    "source as it is": lambda _, options: ours(open_dataset(options.dataset, options.split, Shape(), Charset())),
    "packed": lambda store, _: ours(packed(store)),
    "packed, in memory": lambda store, _: resident(packed(store)),
    "Pillow": lambda store, _: alone(store, with_pillow),
    "OpenCV": lambda store, _: alone(store, with_opencv),
    "peer: clovaai": lambda store, options: peer(options.peer, store),
}  # fmt: skip


def faithfulness(source: Source) -> str:
    """How far our resize is from Pillow's antialiased bilinear one, and how far OpenCV's plain one would be."""
    errors = {"ours": [], "OpenCV INTER_LINEAR": [], "OpenCV INTER_AREA": []}
    for number in range(min(len(source), 2000)):
        picture = decode(bytes(source.encoded(number)))[:, :, 0].copy()
        expected = np.asarray(Image.fromarray(picture).resize((100, 32), Image.Resampling.BILINEAR)).astype(int)
        others = (resize(picture[:, :, None], 32, 100), cv2.resize(picture, (100, 32)),
                  cv2.resize(picture, (100, 32), interpolation=cv2.INTER_AREA))  # fmt: skip
        for kept, other in zip(errors.values(), others, strict=True):
            kept.append(np.abs(other.reshape(32, 100).astype(int) - expected).mean())
    rows = [[name, np.mean(each), np.percentile(each, 95), np.max(each)] for name, each in errors.items()]
    headers = ["grey levels (of 255) from Pillow's BILINEAR", "mean", "95 % of pictures", "worst picture"]
    return "\n" + tabulate(rows, headers, floatfmt=".2f")


if __name__ == "__main__":
    run_cli(main, "benchmarks.loader")
