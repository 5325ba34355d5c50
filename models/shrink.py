"""A trained `crnn` made small: `python -m models.shrink best.pt small.safetensors`, a start for training `crnn_small`.

Each convolution becomes a column's filters and then a row's, by the singular values of its weights (Jaderberg et al.
2014, arXiv 1405.3866); of each recurrent or linear layer those features stay that the next layer weighs most. What it
reads afterwards is poor until it has been trained for a while.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path

import torch
from torch import Tensor

from bench.refusal import Refusal, answer
from models import checkpoint, convert
from models.parts.vgg import RANKS

State = dict[str, Tensor]
GATES = 4  # of an LSTM, one above the other in its weights
KEPT = 0.75  # of recurrent features


def separated(weight: Tensor, rank: int) -> tuple[Tensor, Tensor]:
    """(K, C, h, w) -> the nearest (rank, C, h, 1) and (K, rank, 1, w), one after the other."""
    k, c, h, w = weight.shape
    left, values, right = torch.linalg.svd(weight.permute(1, 2, 0, 3).reshape(c * h, k * w), full_matrices=False)
    share = values[:rank].sqrt()
    down = (left[:, :rank] * share).T.reshape(rank, c, h, 1)
    across = (right[:rank] * share[:, None]).reshape(rank, k, 1, w).transpose(0, 1)
    return down.contiguous(), across.contiguous()


def weightiest(weight: Tensor, count: int) -> Tensor:
    """The `count` inputs (columns) of a layer that it weighs most, in their order."""
    return weight.norm(dim=0).topk(count).indices.sort().values


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
            made |= dict(zip(names, separated(weight, rank), strict=True)) | {f"backbone.conv{i}.1.bias": bias}
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


def shrunk(big: convert.Converted) -> convert.Converted:
    """The small network, all its weights from the big one. Raises Refusal: only `crnn` can be made small."""
    parts = (big.model.rectifier, big.model.backbone, big.model.sequence, big.model.head)
    if parts != ("none", "vgg", "bilstm", "ctc"):
        raise Refusal(f"only recipe crnn can be made small, and this is {' + '.join(parts)}")
    model = dataclasses.replace(big.model, backbone="vgg_separated", hidden=round(big.model.hidden * KEPT))
    state = {key: value.float() for key, value in big.network().state_dict().items()}
    small = small_convolutions(state) | small_sequence(state, model.hidden)
    return dataclasses.replace(big, state=small, model=model, recipe="crnn_small")


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="models.shrink",
        description=__doc__.partition("\n")[0],
        epilog="example: python -m models.shrink best.pt small.safetensors",
    )
    parser.add_argument("trained", type=Path, help="a checkpoint of recipe crnn, or the .safetensors file of one")
    parser.add_argument("out", type=Path, help="the .safetensors file to write, for --start-from of recipe crnn_small")
    options = parser.parse_args(sys.argv[1:] if argv is None else argv)
    big, charset = convert.own(checkpoint.read(options.trained), options.trained)
    small = shrunk(big)
    convert.save(small, charset, options.out)
    counts = [sum(p.numel() for p in made.network().parameters()) for made in (big, small)]
    print(f"{options.out}: {counts[1]:,} parameters, made of {counts[0]:,}; train it: --recipe crnn_small --start-from")


if __name__ == "__main__":
    answer(main, "models.shrink")
