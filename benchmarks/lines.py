"""How well lines of Chinese are read: `python -m benchmarks.lines NAME=LIST... --weights crnn_small_chinese`.

Each LIST is a data set as models.prepare reads it. A row a set: lines right with a 95 % interval, CER (edits of the
whole set over characters of its truths), and ECE, how far the confidence is from the share of right lines. A line is
right where it is the same after NFKC and without blanks, with quotes, dashes, dots and commas of either width taken for
one, as typing differs in these more than printing.
"""
# ruff: noqa: RUF001  (the characters that are alike)

from __future__ import annotations

import time
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import torch
from rapidfuzz.distance import Levenshtein
from tabulate import tabulate

from bench.errors import UserError, run_cli
from bench.judging.statistics import wilson_interval
from bench.options import Command, Positional
from models.data.opening import open_source
from models.reading.calibration import calibration_error
from models.reading.recogniser import Recogniser

ALIKE = str.maketrans(
    {
        **dict.fromkeys("“”„″「」『』\"", '"'), **dict.fromkeys("‘’′`'", "'"), **dict.fromkeys("—–―─━_~∼-", "-"),
        **dict.fromkeys("·•﹒・.。．●", "."), **dict.fromkeys("、,，", ","),
    }
)  # fmt: skip


@dataclass
class LinesOptions:
    """Measure how well lines of Chinese are read."""

    sets: Annotated[list[str], Positional("NAME=LIST")] = field(default_factory=list)
    """Data sets"""
    weights: str = "crnn_small_chinese"
    """Shipped weights, or a file"""
    precision: str = "FP32"
    """FP32, AMP or BF16"""
    engine: str | None = None
    """As Recogniser.load's: openvino_int8, ...; default: torch with weights laid out once, or what was remembered"""
    views: bool = True
    """Read tall images turned, too"""
    split: str = "test"


COMMAND = Command("benchmarks.lines", LinesOptions, "signs=signs/labels.tsv")


def plain(text: str) -> str:
    """What a reading and its truth are compared by."""
    return "".join(unicodedata.normalize("NFKC", text).split()).translate(ALIKE)


def main(argv: list[str] | None = None) -> None:
    options = COMMAND.parse(argv)
    torch.set_num_threads(1)
    reader = Recogniser.load(
        options.weights, device="CPU", precision=options.precision, engine=options.engine, views=options.views
    )
    rows = []
    for one in options.sets:
        name, _, place = one.rpartition("=")
        source = open_source(Path(place), options.split)
        if not len(source):
            raise UserError(f"{place}: no lines in it")
        truths = [plain(text) for text in source.texts(0, len(source))]
        started = time.process_time()
        readings = reader([bytes(source.encoded(i)) for i in range(len(source))])
        seconds = time.process_time() - started
        texts = [plain(found.text) for found in readings]
        same = list(map(str.__eq__, texts, truths))
        error, right = calibration_error([found.confidence for found in readings], same), sum(same)
        low, high = wilson_interval(right, len(truths))
        edits = sum(map(Levenshtein.distance, texts, truths))
        share = f"{100 * right / len(truths):.1f} % ({100 * low:.1f} to {100 * high:.1f})"
        cer = f"{100 * edits / sum(map(len, truths)):.1f} %"
        rows.append(
            [name or source.name, len(truths), share, cer, f"{error:.3f}", f"{1000 * seconds / len(truths):.1f}"]
        )
    heads = ["set", "n", "lines right (95 %)", "CER", "ECE", "CPU ms a line"]
    print(tabulate(rows, heads, tablefmt="github", disable_numparse=True))


if __name__ == "__main__":
    run_cli(main, "benchmarks.lines")
