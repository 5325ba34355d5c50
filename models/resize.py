"""A trained `crnn` made small, or a `crnn_small` made large: `python -m models.resize best.pt start.safetensors`.

Small: each convolution becomes a column's filters and then a row's, by the singular values of its weights (Jaderberg et
al. 2014, arXiv 1405.3866); of each recurrent or linear layer those features stay that the next layer weighs most. What
it reads afterwards is poor until it has been trained for a while. Large: the two convolutions become the one that they
are together, and new features begin as training from nothing does, but weigh nothing in what follows (Net2Net, Chen et
al. 2015, arXiv 1511.05641), so it reads as the small one did and has room to learn. Both are for --start-from.
"""

from __future__ import annotations

if not __package__:  # `python models/resize.py`, from any folder: its own is on the path, and not the checkout
    __import__("sys").path.insert(0, __file__.rsplit("/", 2)[0])

import dataclasses
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
from torch import Tensor

from bench.errors import UserError, run_cli
from bench.options import Command, Positional
from models.network.network import build
from models.network.vgg import RANKS
from models.weights import checkpoint
from models.weights.file import Weights, save_weights
from models.weights.unpickle import State

GATES = 4  # of an LSTM, one above the other in its weights
KEPT = 0.75  # of recurrent features


def separate(weight: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """(K, C, h, w) -> the nearest (rank, C, h, 1) and (K, rank, 1, w), one after the other."""
    k, c, h, w = weight.shape
    left, values, right = torch.linalg.svd(weight.permute(1, 2, 0, 3).reshape(c * h, k * w), full_matrices=False)
    share = values[:rank].sqrt()
    down = (left[:, :rank] * share).T.reshape(rank, c, h, 1)
    across = (right[:rank] * share[:, None]).reshape(rank, k, 1, w).transpose(0, 1)
    return down.contiguous(), across.contiguous()


def merge(down: Tensor, across: Tensor) -> Tensor:
    """(r, C, h, 1) and (K, r, 1, w) -> the (K, C, h, w) that they are together."""
    return torch.einsum("rch,krw->kchw", down[..., 0], across[:, :, 0])


def weightiest(weight: Tensor, count: int) -> Tensor:
    """The `count` inputs (columns) of a layer that it weighs most, in their order."""
    inputs: Tensor = weight.norm(dim=0).topk(count).indices
    return inputs.sort().values


def rows_of_gates(units: Tensor, hidden: int) -> Tensor:
    return torch.cat([units + gate * hidden for gate in range(GATES)])


def small_recurrent(state: State, name: str, inputs: Tensor, units: list[Tensor]) -> State:
    """An LSTM each way with these inputs and, each way, these units."""
    made = {}
    for suffix, kept in zip(("", "_reverse"), units, strict=True):
        rows = rows_of_gates(kept, state[f"{name}.weight_hh_l0"].shape[1])
        for kind, columns in (("weight_ih", inputs), ("weight_hh", kept)):
            made[f"{name}.{kind}_l0{suffix}"] = state[f"{name}.{kind}_l0{suffix}"][rows][:, columns]
        for kind in ("bias_ih", "bias_hh"):
            made[f"{name}.{kind}_l0{suffix}"] = state[f"{name}.{kind}_l0{suffix}"][rows]
    return made


def small_convolutions(state: State) -> State:
    """The backbone's weights, batch norms as they are."""
    made = {key: value for key, value in state.items() if key.startswith("backbone.")}
    for i, rank in enumerate(RANKS):
        if rank:
            weight, bias = made.pop(f"backbone.conv{i}.weight"), made.pop(f"backbone.conv{i}.bias")
            names = (f"backbone.conv{i}.0.weight", f"backbone.conv{i}.1.weight")
            made |= dict(zip(names, separate(weight, rank), strict=True)) | {f"backbone.conv{i}.1.bias": bias}
    return made


def small_sequence(state: State, hidden: int) -> State:
    """The two recurrent layers, the linear one between them, and the head."""
    between, head = state["sequence.0.embedding.weight"], state["head.weight"]
    first = [weightiest(half, hidden) for half in between.chunk(2, dim=1)]
    second = [weightiest(half, hidden) for half in head.chunk(2, dim=1)]
    reads = [state[f"sequence.1.rnn.weight_ih_l0{suffix}"] for suffix in ("", "_reverse")]
    middle = weightiest(torch.cat(reads), hidden)
    both = [torch.cat([ways[0], ways[1] + head.shape[1] // 2]) for ways in (first, second)]
    every = torch.arange(state["sequence.0.rnn.weight_ih_l0"].shape[1])
    return {
        **small_recurrent(state, "sequence.0.rnn", every, first),
        "sequence.0.embedding.weight": between[middle][:, both[0]],
        "sequence.0.embedding.bias": state["sequence.0.embedding.bias"][middle],
        **small_recurrent(state, "sequence.1.rnn", middle, second),
        "head.weight": head[:, both[1]],
        "head.bias": state["head.bias"],
    }


def large_convolutions(state: State) -> State:
    made = {key: value for key, value in state.items() if key.startswith("backbone.")}
    for i, rank in enumerate(RANKS):
        if rank:
            down, across = (made.pop(f"backbone.conv{i}.{part}.weight") for part in (0, 1))
            made[f"backbone.conv{i}.weight"] = merge(down, across)
            made[f"backbone.conv{i}.bias"] = made.pop(f"backbone.conv{i}.1.bias")
    return made


def embed(fresh: Tensor, small: Tensor, rows: Tensor, columns: Tensor | None = None) -> Tensor:
    """`small` in those rows and columns of `fresh`; the other columns of those rows are 0."""
    large = fresh.clone()
    large[rows] = 0
    large[(rows,) if columns is None else (rows[:, None], columns)] = small
    return large


def large_sequence(fresh: State, small: State, hidden: int) -> State:
    """The recurrent layers, the linear one between them, and the head, whose first `hidden` features are small's."""
    features = fresh["head.weight"].shape[1] // 2
    old, characters = torch.arange(hidden), torch.arange(len(fresh["head.bias"]))
    gates, both = rows_of_gates(old, features), torch.cat([old, old + features])
    every = torch.arange(fresh["sequence.0.rnn.weight_ih_l0"].shape[1])
    places = {
        r"sequence\.0\.rnn\.weight_ih": (gates, every),
        r"sequence\.1\.rnn\.weight_ih|.*weight_hh": (gates, old),
        r"sequence\..\.rnn\.bias": (gates, None),
        r"sequence\.0\.embedding\.weight": (old, both),
        r"sequence\.0\.embedding\.bias": (old, None),
        r"head\.weight": (characters, both),
        r"head\.bias": (characters, None),
    }
    return {
        key: embed(fresh[key], small[key], *place)
        for pattern, place in places.items()
        for key in fresh
        if re.match(pattern, key)
    }


def shrink(big: Weights, state: State) -> Weights:
    model = dataclasses.replace(big.model, backbone="vgg_separated", hidden=round(big.model.hidden * KEPT))
    made = small_convolutions(state) | small_sequence(state, model.hidden)
    return dataclasses.replace(big, state=made, model=model, recipe="crnn_small")


def grow(small: Weights, state: State) -> Weights:
    model = dataclasses.replace(small.model, backbone="vgg", hidden=round(small.model.hidden / KEPT))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)  # the same file every time
        fresh = build(model, small.classes, small.height, small.channels).state_dict()
    made = large_convolutions(state) | large_sequence(fresh, state, small.model.hidden)
    return dataclasses.replace(small, state=made, model=model, recipe="crnn")


OTHER = {"vgg": shrink, "vgg_separated": grow}  # by the backbone


def change_size(trained: Weights) -> Weights:
    """The other size, all its weights from `trained`. Raises UserError: only `crnn` and `crnn_small` have one."""
    model = trained.model
    if model.backbone not in OTHER or (model.rectifier, model.sequence, model.head) != ("none", "bilstm", "ctc"):
        parts = " + ".join((model.rectifier, model.backbone, model.sequence, model.head))
        raise UserError(f"only recipes crnn and crnn_small have another size, and this is {parts}")
    return OTHER[model.backbone](trained, {key: value.float() for key, value in trained.network().state_dict().items()})


@dataclass
class ResizeOptions:
    """Make a trained `crnn` small, or a `crnn_small` large."""

    trained: Annotated[Path, Positional("TRAINED")]
    """A checkpoint of recipe crnn or crnn_small, or a .safetensors file"""
    out: Annotated[Path, Positional("OUT")]
    """The .safetensors file to write, for --start-from of the other recipe"""


COMMAND = Command("models.resize", ResizeOptions, "best.pt small.safetensors")


def main(argv: list[str] | None = None) -> None:
    options = COMMAND.parse(argv)
    trained, charset = checkpoint.weights_of(checkpoint.read(options.trained), options.trained)
    made = change_size(trained)
    save_weights(made, charset, options.out)
    after, before = (sum(p.numel() for p in one.network().parameters()) for one in (made, trained))
    print(f"{options.out}: {after:,} parameters, made of {before:,}; train it: --recipe {made.recipe} --start-from")


if __name__ == "__main__":
    run_cli(main, "models.resize")
