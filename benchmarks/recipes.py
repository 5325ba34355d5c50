"""Every recipe side by side, the table of docs/recognisers.md: `python -m benchmarks.recipes --out DIR`.

`--what learn` gives each recipe the same short training on plainly rendered words and reads words it never saw;
`--what speed` times training and testing on images in memory, one recipe after the other, again and again;
`--what table` prints what the records below DIR say. Without it all three, which takes about 70 minutes of one core.
`--recipes a,b` does some of them, and what is there already is not learned again.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Annotated, Literal

from tabulate import tabulate

from bench.errors import run_cli
from bench.judging.statistics import wilson_interval
from bench.options import Bounds, Command, Metavar
from bench.records.record import FAILURES
from models import render, test, train
from models.cost import Cost, costs
from models.rendering.lexicon import read_words
from models.run.options import RECIPES

LENGTHS = range(3, 6)  # characters of the words
IMAGES = "10000,600,64"  # to learn from, to be judged by, to be timed with; no word is in two of them
BATCH, STEPS = 32, 200
# One schedule for all, so that they differ in nothing but the recogniser. The recipes' own are for weeks of a card.
SCHEDULE = [
    *("--optimizer.name", "adamw", "--optimizer.lr", "1e-3", "--optimizer.lr-batch", str(BATCH)),
    *("--optimizer.betas", "0.9,0.999", "--optimizer.weight-decay", "0", "--optimizer.schedule", "one_cycle"),
]
SAME = ["--device", "CPU", "--precision", "AMP", "--batch-size", str(BATCH)]
NARROW = ["--data.width", "48", "--model.rectified-width", "48"]  # px, enough for short words and half the work
KEPT = ["--input", "memory", "--data.width", "100", "--data.keep-ratio", "false", "--warmup-steps", "1"]
TIMED = {
    "trained": (train, ["--steps", "21"]),  # 20 are the least that count
    "tested": (test, ["--latency-runs", "0"]),
}


@dataclass
class RecipesOptions:
    """Compare the recipes."""

    what: Literal["all", "learn", "speed", "table"] = "all"
    out: Path = Path("recipes")
    recipes: Annotated[str, Metavar("RECIPE,...")] = ""
    """Default: all"""
    rounds: Annotated[int, Bounds(1)] = 3
    """Of timing"""

    @property
    def names(self) -> list[str]:
        return self.recipes.split(",") if self.recipes else sorted(path.stem for path in RECIPES.glob("*.yaml"))


COMMAND = Command("benchmarks.recipes", RecipesOptions, "--out /tmp/recipes")


def short_words(out: Path) -> Path:
    """A lexicon of short words in `out`."""
    out.mkdir(parents=True, exist_ok=True)
    (out / "words").write_text("\n".join(word for word in read_words() if len(word) in LENGTHS))
    return out / "words"


def draw_words(out: Path) -> str:
    """A data set of short words below `out`, rendered when it is not there yet."""
    count = sum(int(part) for part in IMAGES.split("/"))
    render.main(["--out", str(out), "--lexicon", str(short_words(out)), "--count", str(count), "--split", IMAGES])
    return str(out)


def places(out: Path, results: str) -> list[str]:
    return ["--checkpoints", str(out / "checkpoints"), "--results", str(out / results)]


def learn(options: RecipesOptions) -> None:
    words = draw_words(options.out)
    for name in options.names:
        if name not in by_recipe(options.out / "learned"):
            where = ["--recipe", name, "--dataset", words, *places(options.out, "learned")]
            train.main([*where, *SAME, *NARROW, *SCHEDULE, "--steps", str(STEPS)])


def speed(options: RecipesOptions) -> None:
    words = draw_words(options.out)
    for _ in range(options.rounds):
        for name in options.names:
            for results, (program, amount) in TIMED.items():
                where = ["--recipe", name, "--dataset", words, *places(options.out, results)]
                program.main([*where, *SAME, *KEPT, *amount])


def by_recipe(folder: Path) -> dict[str, list[dict]]:
    """The records of a folder but for those of runs that failed."""
    found: dict[str, list[dict]] = {}
    for path in sorted(folder.glob("*.json")):
        record = json.loads(path.read_text(encoding="utf8"))
        if record["status"] not in FAILURES:
            found.setdefault(record["recipe"]["name"], []).append(record)
    return found


def rate(records: list[dict]) -> str:
    """Median images/s; empty when nobody measured it, with a ~ where a record says too short or not steady."""
    if not records:
        return ""
    rough = any(record["status"] != "ok" for record in records)
    return "~" * rough + f"{median(record['throughput']['images_per_s'] for record in records):.1f}"


def read_right(records: list[dict]) -> str:
    if not records:
        return ""
    found = records[-1]["accuracy"]
    low, high = wilson_interval(found["correct"], found["n"])
    return f"{found['word_accuracy']:.1%} ({100 * low:.1f} to {100 * high:.1f})"


HEADERS = ("recipe", "parameters", "GFLOPs", "T", "train, images/s", "test, images/s", f"read after {STEPS} steps")


def table(options: RecipesOptions) -> str:
    learned, trained, tested = (by_recipe(options.out / name) for name in ("learned", *TIMED))

    def row(cost: Cost) -> tuple:
        times = (rate(found.get(cost.recipe, [])) for found in (trained, tested))
        return (cost.recipe, f"{cost.parameters:,}", f"{cost.gigaflops:.2f}", cost.steps, *times,
                read_right(learned.get(cost.recipe, [])))  # fmt: skip

    return tabulate([row(cost) for cost in costs()], HEADERS, "github", disable_numparse=True)


def main(argv: list[str] | None = None) -> None:
    options = COMMAND.parse(argv)
    if options.what in ("all", "learn"):
        learn(options)
    if options.what in ("all", "speed"):
        speed(options)
    print(table(options))


if __name__ == "__main__":
    run_cli(main, "benchmarks.recipes")
