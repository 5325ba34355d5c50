"""How well and how fast `Recogniser` reads, with and without other views of doubtful images.

    python -m benchmarks.reading DIR... --weights crnn_small

Each DIR is a data set as models.prepare reads it. A row a set and way of reading (plain; with views; with views and a
lexicon, where --lexicon names one): words right (letters and digits, case ignored) with a 95 % interval, calibration
error of the confidence, CPU ms an image on one thread, all ways taken in turn over the same images.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
from tabulate import tabulate

from bench.errors import run_cli
from bench.options import Bounds, Command, Positional
from models.dataset import open_dataset
from models.reading.calibration import calibration_error
from models.reading.recogniser import Reading, Recogniser
from models.scoring.metrics import make_fold, score


@dataclass
class ReadingOptions:
    """Measure how well and how fast words are read."""

    sets: Annotated[list[Path], Positional("DIR")]
    """Data sets"""
    weights: str = "crnn_small"
    """Shipped weights, or a file"""
    precision: str = "FP32"
    """FP32, AMP or BF16"""
    engine: str | None = None
    """As Recogniser.load's: openvino_int8, ...; default: torch with weights laid out once, or what was remembered"""
    split: str = "train"
    """Of each set"""
    mode: str = "alphanumeric"
    """exact, ignore_case or alphanumeric"""
    lexicon: Path | None = None
    """Read with it as a prior, too"""
    lexicon_penalty: Annotated[float, Bounds(0)] = 4.0
    """Nats by which a text outside it must be more probable"""
    limit: Annotated[int, Bounds(0)] = 0
    """Images of each set; 0: all"""


COMMAND = Command("benchmarks.reading", ReadingOptions, "data/iiit5k --weights crnn_small")
AT_ONCE = 64


def read_in_turn(readers: list[Recogniser], images: list[bytes]) -> tuple[list[list[Reading]], list[float]]:
    """What each reader reads, and its CPU seconds: batch by batch in turn, so that a busy machine is busy for both."""
    readings: list[list[Reading]] = [[] for _ in readers]
    seconds = [0.0] * len(readers)
    for begin in range(0, len(images), AT_ONCE):
        for i, reader in enumerate(readers):
            started = time.process_time()
            readings[i] += reader(images[begin : begin + AT_ONCE], alternatives=0)
            seconds[i] += time.process_time() - started
    return readings, seconds


def open_readers(options: ReadingOptions) -> dict[str, Recogniser]:
    """By the way of reading."""

    def load(**how) -> Recogniser:
        how |= {"precision": options.precision, "engine": options.engine}
        return Recogniser.load(options.weights, device="CPU", **how)

    readers = {"plain": load(views=False), "views": load()}
    if options.lexicon:
        readers["views, lexicon"] = load(lexicon=options.lexicon, lexicon_penalty=options.lexicon_penalty)
    return readers


def main(argv: list[str] | None = None) -> None:
    options = COMMAND.parse(argv)
    torch.set_num_threads(1)
    readers = open_readers(options)
    plain, fold, rows = readers["plain"], make_fold(options.mode), []
    for folder in options.sets:
        source = open_dataset(folder, options.split, plain.shape, plain.charset).source
        count = min(options.limit or len(source), len(source))
        images, truths = [bytes(source.encoded(i)) for i in range(count)], source.texts(0, count)
        for way, readings, seconds in zip(readers, *read_in_turn(list(readers.values()), images), strict=True):
            found = score(truths, [one.text for one in readings], options.mode)
            right = [fold(truth) == fold(one.text) for truth, one in zip(truths, readings, strict=True)]
            error = calibration_error([one.confidence for one in readings], right)
            rows.append(
                [source.name, way, count, share_with_interval(found), f"{error:.3f}", f"{1000 * seconds / count:.1f}"]
            )
    heads = ["set", "read", "n", "words right (95 %)", "ECE", "CPU ms an image"]
    print(tabulate(rows, heads, tablefmt="github", disable_numparse=True))


def share_with_interval(result) -> str:
    low, high = result.interval
    return f"{100 * result.word_accuracy:.1f} % ({100 * low:.1f} to {100 * high:.1f})"


if __name__ == "__main__":
    run_cli(main, "benchmarks.reading")
