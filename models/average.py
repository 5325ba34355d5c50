"""The mean of trained weights of one network: `python -m models.average before.pt after.pt mean.safetensors`.

Weights before and after a short further training lie in one valley, and their mean often reads better than either
(Wortsman et al. 2022, arXiv 2109.01903 and 2203.05482).
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from bench.errors import UserError, run_cli
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


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="models.average",
        description=__doc__.partition("\n")[0],
        epilog="example: python -m models.average before.pt after.pt mean.safetensors",
    )
    parser.add_argument("trained", type=Path, nargs="+", help="checkpoints or .safetensors files, two or more")
    parser.add_argument("out", type=Path, help="the .safetensors file to write")
    options = parser.parse_args(sys.argv[1:] if argv is None else argv)
    read = [checkpoint.weights_of(checkpoint.read(path), path) for path in options.trained]
    if len({charset.characters for _, charset in read}) > 1:
        raise UserError("their alphabets differ, so their last layers have no mean")
    save_weights(average_weights([one for one, _ in read]), read[0][1], options.out)
    print(f"{options.out}: the mean of {', '.join(map(str, options.trained))}")


if __name__ == "__main__":
    run_cli(main, "models.average")
