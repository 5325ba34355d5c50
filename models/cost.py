"""What each recipe's recogniser costs: `python -m models.cost` prints the table of docs/recognisers.md.

Parameters and steps are exact. GFLOPs are 1e9 operations of convolutions, linear and recurrent layers for one image,
a multiply-add counting as two as torch has it, counted on tensors without storage, so that it takes seconds.
"""

from __future__ import annotations

if not __package__:  # `python models/cost.py`, from any folder: its own is on the path, and not the checkout
    __import__("sys").path.insert(0, __file__.rsplit("/", 2)[0])

from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path

import torch
import yaml
from tabulate import tabulate
from torch.utils.flop_counter import FlopCounterMode

from bench.errors import run_cli
from bench.options import Command, NoOptions
from models.network.model import Model
from models.network.network import Network, count_parameters

RECIPES = Path(__file__).resolve().parent / "recipes"
CLASSES, HEIGHT, WIDTH = 37, 32, 100  # the field's yardstick: 36 characters, 32 x 100 px


@dataclass(frozen=True)
class Cost:
    recipe: str
    parts: str
    channels: int
    parameters: int
    steps: int  # columns, of which CTC writes one class each; attention looks at them
    gigaflops: float  # 1e9 operations for one image; a multiply-add is two

    @classmethod
    def of(cls, recipe: str, model: Model, channels: int) -> Cost:
        with torch.device("meta"):
            recogniser = Network(model, CLASSES, HEIGHT, channels).eval()
            image = torch.zeros(1, channels, HEIGHT, WIDTH)
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            recogniser(image)
        names = [n for n in (model.rectifier, model.backbone, model.sequence, model.head) if n != "none"]
        flops = counter.get_total_flops() / 1e9
        return cls(
            recipe, " + ".join(names), channels, count_parameters(recogniser), recogniser.time_steps(WIDTH), flops
        )

    @property
    def row(self) -> tuple[object, ...]:
        count, flops = f"{self.parameters:,}", f"{self.gigaflops:.2f}"
        return self.recipe, self.parts, self.channels, count, self.steps, flops


HEADERS = ("recipe", "parts", "channels", "parameters", "T", "GFLOPs")


@cache
def costs() -> list[Cost]:
    """One for each recipe, by name."""
    made = []
    for path in sorted(RECIPES.glob("*.yaml")):
        recipe = yaml.safe_load(path.read_text(encoding="utf8"))
        known = {field.name for field in fields(Model)}
        model = Model(**{key: value for key, value in recipe.get("model", {}).items() if key in known})
        made.append(Cost.of(path.stem, model, recipe["data"]["channels"]))
    return made


def cost_table() -> str:
    table: str = tabulate([cost.row for cost in costs()], HEADERS, "github", disable_numparse=True)
    return table


COMMAND = Command("models.cost", NoOptions, description=__doc__)


def main(argv: list[str] | None = None) -> None:
    COMMAND.parse(argv)
    print(cost_table())


if __name__ == "__main__":
    run_cli(main, "models.cost")
