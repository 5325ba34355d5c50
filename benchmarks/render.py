"""How fast pictures are rendered, and how like Synth90k's they are.

    python -m benchmarks.render                              images/s of one core, per style
    python -m benchmarks.render --dataset DIR                and grey levels beside those of the genuine pictures there
    python -m benchmarks.render --peer DIR/bin/python        and TextRecognitionDataGenerator, in a venv that has it

One process, its own CPU time, so that what else the machine does counts little. With files and start-up on all cores,
`python -m models.render` prints its own rate at its end.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import simplejpeg
from tabulate import tabulate

from bench.errors import UserError, run_cli
from bench.options import Command
from models.render import RenderOptions, plan
from models.rendering.files import INSIDE, MARKER
from models.rendering.sample import Sample
from models.rendering.sheet import decode_sample

ROUNDS, PICTURES = 5, 1000
PERCENTILES = (5, 25, 50, 75, 95)
PEER = Path(__file__).with_name("render_peer.py")


@dataclass
class RenderingOptions:
    """Measure models.render."""

    dataset: Path | None = None
    """Folder that holds the genuine Synth90k/, to compare grey levels with"""
    peer: Path | None = None
    """Python of an environment that has `trdg`"""


COMMAND = Command("benchmarks.render", RenderingOptions, "--dataset data")


def main(argv: list[str] | None = None) -> None:
    options = COMMAND.parse(argv)
    rates = {style: rate(plan(RenderOptions(style=style, sheet=Path("-")))) for style in ("plain", "hard")}
    if options.peer:
        rates["peer: trdg"] = peer(options.peer)
    rows = [
        [name, median(each), min(each), max(each), median(rates["hard"]) / median(each)] for name, each in rates.items()
    ]
    print(
        tabulate(
            rows, ["style", "images/s per core", "least", "most", "hard / this"], floatfmt=(",.0f",) * 4 + (".2f",)
        )
    )
    if options.dataset:
        print(compare(options.dataset))


def rate(sample: Sample) -> list[float]:
    """Images per second of CPU time, drawn and encoded, for each of ROUNDS."""
    task = next(sample.tasks(PICTURES))

    def work() -> None:
        for number, word in enumerate(task.words):
            sample.look.jpeg(word, number)

    work()  # draws the glyphs that are kept, and the surfaces
    return [PICTURES / cpu_seconds(work) for _ in range(ROUNDS)]


def cpu_seconds(work: Callable[[], None]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def median(values: list[float]) -> float:
    return float(np.median(values))


def peer(python: Path) -> list[float]:
    """The same of TextRecognitionDataGenerator, by the Python that has it."""
    try:
        said = subprocess.run([python, PEER], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError) as problem:
        raise UserError(f"--peer {python}: cannot run trdg ({problem})") from None
    return json.loads(said.splitlines()[-1])


MEASURES: dict[str, Callable[[np.ndarray], float]] = {
    "mean": np.mean,
    "standard deviation": np.std,
    "least": np.min,
    "most": np.max,
    "median": np.median,
    "step to the right": lambda picture: np.abs(np.diff(picture.astype(int), axis=1)).mean(),
    "width": lambda picture: picture.shape[1],
}


def compare(root: Path) -> str:
    """Percentiles, over pictures, of what a picture's grey levels are: the genuine ones and ours of the hard style."""
    ours = plan(RenderOptions(style="hard", sheet=Path("-"), lexicon=root / INSIDE / "lexicon.txt"))
    both = {"Synth90k": list(genuine(root)), "ours": list(islice(decode_sample(ours), 2000))}
    rows = [
        [name, whose, *np.percentile([measure(picture) for picture in seen], PERCENTILES)]
        for name, measure in MEASURES.items()
        for whose, seen in both.items()
    ]
    headers = [
        "of a picture",
        f"({' and '.join(str(len(seen)) for seen in both.values())})",
        *map("{} %".format, PERCENTILES),
    ]
    return "\n" + tabulate(rows, headers, floatfmt=".0f")


def genuine(root: Path, most: int = 5000) -> Iterator[np.ndarray]:
    """Decoded pictures of the genuine data set."""
    folder = root / INSIDE
    if not (folder / "annotation.txt").is_file() or (folder / MARKER).exists():
        raise UserError(f"--dataset {root}: no genuine Synth90k there")
    with (folder / "annotation.txt").open(encoding="utf8") as annotation:
        for line in islice(annotation, most):
            yield simplejpeg.decode_jpeg((folder / line.split(" ")[0]).read_bytes(), "GRAY")[..., 0]


if __name__ == "__main__":
    run_cli(main, "benchmarks.render")
