"""What the start of the weights is worth, as docs/recognisers.md shows it: `python -m benchmarks.start --out DIR`.

A recipe learns 64 plainly rendered words by heart, from torch's own start and from ours, with the same images in the
same order, for several seeds. About 30 s a run on one core.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Annotated
from unittest.mock import patch

from tabulate import tabulate

from bench.errors import run_cli
from bench.options import Bounds, Command
from bench.records.record import Record
from benchmarks.recipes import short_words
from models import render, train
from models.network import network

STEPS, SHOWN, OVER = 208, (16, 48, 80, 112, 144, 176, 208), 16
STARTS = {"torch": lambda made: None, "ours": network.init_sequence}  # what is done to a network made by torch
OPTIONS = [
    *("--device", "CPU", "--precision", "AMP", "--data.width", "64", "--batch-size", "8", "--steps", str(STEPS)),
    *("--optimizer.name", "adam", "--optimizer.lr", "5e-4", "--optimizer.lr-batch", "8", "--without", "validation"),
]


@dataclass
class StartOptions:
    """Compare two starts."""

    out: Path = Path("start")
    recipe: str = "crnn"
    seeds: Annotated[int, Bounds(1)] = 3


COMMAND = Command("benchmarks.start", StartOptions, "--out /tmp/start")


def losses(options: StartOptions, start: str, seed: int) -> list[float]:
    """Loss of every step of one run."""
    out, results = options.out, options.out / options.recipe / start / str(seed)
    places = ["--dataset", str(out), "--checkpoints", str(out / "checkpoints"), "--results", str(results)]
    with patch.object(network, "init_sequence", STARTS[start]):
        train.main(["--recipe", options.recipe, *places, *OPTIONS, "--seed", str(seed)])
    [path] = results.glob("*.json")
    return Record.load(path).training["loss"]


def table(runs: dict[str, list[list[float]]]) -> str:
    """Mean loss a word over the last 16 steps, of each seed."""

    def cell(start: str, step: int) -> str:
        return ", ".join(f"{mean(run[step - OVER : step]):.2f}" for run in runs[start])

    rows = [(step, *(cell(start, step) for start in runs)) for step in SHOWN]
    return tabulate(rows, ("step", *runs), "github", disable_numparse=True)


def main(argv: list[str] | None = None) -> None:
    options = COMMAND.parse(argv)
    words = short_words(options.out)
    render.main(["--out", str(options.out), "--lexicon", str(words), "--count", "72", "--split", "64,8,0"])
    seeds = range(1, options.seeds + 1)
    print(table({start: [losses(options, start, seed) for seed in seeds] for start in STARTS}))


if __name__ == "__main__":
    run_cli(main, "benchmarks.start")
