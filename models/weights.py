"""Files of weights that others made: their tensors alone, read so that no code in them runs (`weights_only=True`)."""

from __future__ import annotations

import pickle
import re
import zipfile
from pathlib import Path

import torch
from torch import Tensor

from bench.refusal import Refusal

State = dict[str, Tensor]
# What torch.load raises for a file that is not one of torch's, or half of one, or wants to run code.
UNREADABLE = (OSError, RuntimeError, EOFError, pickle.UnpicklingError, zipfile.BadZipFile, ValueError, LookupError)


def read_weights(path: Path) -> State:
    """The tensors of a file, wherever they are in it. Raises Refusal when more than tensors must be built."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise Refusal(f"no file at {path}") from None
    except pickle.UnpicklingError as error:
        asked = re.search(r"GLOBAL ([\w.]+)", str(error))
        needs = f" (it asks for {asked[1]})" if asked else ""
        raise Refusal(
            f"{path}: more than weights{needs}, and reading that could run code in it; save its state_dict() alone"
        ) from None
    except UNREADABLE as error:
        raise Refusal(f"{path}: not a readable weights file ({' '.join(str(error).split())[:120]})") from None
    return tensors(content, path)


def tensors(content, path: Path) -> State:
    """The first mapping from names to tensors alone: the content itself, or something it holds (`state_dict`, ...)."""
    inside = content.values() if isinstance(content, dict) else ()
    for candidate in (content, *inside):
        if isinstance(candidate, dict) and candidate and all(isinstance(v, Tensor) for v in candidate.values()):
            return dict(candidate)
    raise Refusal(f"{path}: holds no table of weights")
