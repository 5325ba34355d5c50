"""Weights as a .safetensors file, with everything that builds the network they fill in its metadata."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
from safetensors import SafetensorError, safe_open

from bench.errors import UserError
from bench.files import write_error_reason, write_file
from models.data.charset import Charset
from models.network.model import Model
from models.network.network import Network, build
from models.weights.checksum import UNKNOWN, ChecksumError, fill_checksum, has_valid_checksum, not_finite
from models.weights.unpickle import State

FORMAT = 2  # of the metadata; without one: no checksum
ABOUT = "crnn-bench"  # the entry of a file's metadata that describes its weights


@dataclass(frozen=True)
class Weights:
    """Weights by our names, and everything that builds the network they fill. `source`: the project they are from."""

    source: str
    state: State
    model: Model
    classes: int
    channels: int
    height: int = 32  # px
    width: int = 100  # px
    keep_ratio: bool = False
    recipe: str | None = None

    def network(self) -> Network:
        """The network with these weights. Raises UserError when they do not fit it."""
        network = build(self.model, self.classes, self.height, self.channels)
        try:
            network.load_state_dict(self.state)
        except RuntimeError as error:
            reason = " ".join(str(error).split())
            raise UserError(f"weights of {self.source} that do not fit its network: {reason[:300]}") from None
        return network


def save_weights(weights: Weights, charset: Charset, path: Path) -> None:
    """Write weights to a .safetensors file. Raises UserError when the alphabet does not fit or writing fails."""
    if charset.classes != weights.classes:
        raise UserError(
            f"the file has {weights.classes} classes and the alphabet {charset.classes} (its characters and class 0): "
            f"pass --charset with the {weights.classes - 1} characters it was trained on"
        )
    if bad := not_finite(weights.state):
        raise UserError(f"{path}: not written: {bad}")
    about = {
        "format": FORMAT,
        "sha256": UNKNOWN,
        "source": weights.source,
        "charset": charset.characters,
        "data": {name: getattr(weights, name) for name in ("height", "width", "channels", "keep_ratio")}
        | ({"right_to_left": True} if charset.right_to_left else {}),
        "model": dataclasses.asdict(weights.model),
        "recipe": weights.recipe,
    }
    # One entry: the order of several differs from run to run, and so would the checksum of the same weights.
    metadata = {ABOUT: json.dumps(about)}
    content = fill_checksum(safetensors.torch.save({k: v.contiguous() for k, v in weights.state.items()}, metadata))
    try:
        write_file(path, content)
    except OSError as error:
        raise UserError(f"cannot write {path}: {write_error_reason(error, len(content), path.parent)}") from None


def is_weights_file(path: Path) -> bool:
    """Whether `save_weights` wrote it. False for a file that cannot be read; reading it gives the reason."""
    if not path.is_file():  # opening a pipe would block
        return False
    try:
        with safe_open(path, framework="pt") as file:
            return ABOUT in (file.metadata() or {})
    except (OSError, SafetensorError):
        return False


def load_weights(path: Path) -> dict[str, Any]:
    """What `save_weights` wrote, as a checkpoint has it: network, charset, data, model, recipe (None for a peer's).

    Raises UserError when it is not such a file.
    """
    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {})[ABOUT])
            state = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (no mapping)
        if not has_valid_checksum(path) and about.get("format") is not None:
            raise ChecksumError("damaged: it has lost the SHA-256 that it was written with")
        if bad := not_finite(state):
            raise UserError(f"{path}: {bad}: such weights read nothing; convert an earlier checkpoint of that run")
        return {"network": state, **{key: about[key] for key in ("charset", "recipe", "data", "model")}}
    except UserError:
        raise
    except ChecksumError as error:
        raise UserError(f"{path}: {error}") from None
    except (OSError, SafetensorError, ValueError, TypeError, RecursionError) as error:
        raise UserError(f"{path}: not a readable safetensors file ({error})") from None
    except KeyError as error:
        raise UserError(
            f"{path}: its metadata lacks {error.args[0]}; was it made by `python -m models.convert`?"
        ) from None


def halve(state: State) -> State:
    """Matrices and kernels in float16; biases and the statistics of norms, a thousandth of the bytes, as they are."""
    return {key: value.half() if value.dim() > 1 else value for key, value in state.items()}
