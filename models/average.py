"""The mean of trained weights of one network: `python -m models.average before.pt after.pt mean.safetensors`.

Weights before and after a short further training lie in one valley, and their mean often reads better than either
(Wortsman et al. 2022, arXiv 2109.01903 and 2203.05482).
"""

from __future__ import annotations

if not __package__:  # `python models/average.py`, from any folder: its own is on the path, and not the checkout
    __import__("sys").path.insert(0, __file__.rsplit("/", 2)[0])

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch

from bench.errors import UserError, run_cli
from bench.options import Command, Positional
from models.weights import checkpoint
from models.weights.file import Weights, save_weights


def average_weights(trained: Sequence[Weights]) -> Weights:
    """One network of several. Raises UserError when they are not of one make."""
    first, *others = (dataclasses.replace(one, state={}) for one in trained)
    if any(other != first for other in others):
        raise UserError("weights of different networks have no mean: give those of one recipe and alphabet")
    states = [one.network().state_dict() for one in trained]
    state = {key: torch.stack([one[key].float() for one in states]).mean(0) for key in states[0]}
    return dataclasses.replace(trained[0], state={key: value.to(states[0][key].dtype) for key, value in state.items()})


@dataclass
class AverageOptions:
    """Average the weights of several trainings of one network."""

    trained: Annotated[list[Path], Positional("TRAINED")]
    """Checkpoints or .safetensors files, two or more"""
    out: Annotated[Path, Positional("OUT")]
    """The .safetensors file to write"""


COMMAND = Command("models.average", AverageOptions, "before.pt after.pt mean.safetensors")


def main(argv: list[str] | None = None) -> None:
    options = COMMAND.parse(argv)
    read = [checkpoint.weights_of(checkpoint.read(path), path) for path in options.trained]
    if len({charset.characters for _, charset in read}) > 1:
        raise UserError("their alphabets differ, so their last layers have no mean")
    save_weights(average_weights([one for one, _ in read]), read[0][1], options.out)
    print(f"{options.out}: the mean of {', '.join(map(str, options.trained))}")


if __name__ == "__main__":
    run_cli(main, "models.average")
