"""A small untrained checkpoint, the same every time."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import torch

from models.data.charset import Charset
from models.network.model import Model
from models.network.network import build
from models.weights import checkpoint

LETTERS = Charset("abc")


def saved(folder, model=Model(hidden=8), **data) -> Path:  # noqa: B008 (Model is frozen)
    """A checkpoint with the weights that a seed gives."""
    torch.manual_seed(0)
    content = {
        "network": build(model, LETTERS.classes, channels=data.get("channels", 1)).state_dict(),
        "charset": LETTERS.characters,
        "recipe": "crnn",
        "data": {"height": 32, "width": 100, "channels": 1, "keep_ratio": False, "charset": "x", **data},
        "model": dataclasses.asdict(model),
    }
    checkpoint.write(content, folder / "best.pt")
    return folder / "best.pt"
