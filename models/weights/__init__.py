"""Trained weights that come with the repository: a table of files beside this one, each known by its checksum.

A row is what `python -m models.convert best.pt models/weights/NAME.safetensors --half` prints. The first one is what
`Recogniser.load()` takes, and each is what `models.test` takes for its recipe when there is no trained checkpoint.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from bench.errors import UserError
from models.data.charset import NAMED

FOLDER = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Shipped:
    """Weights in a file of this folder. What is said of them here is said in the file too, and must be the same."""

    file: str
    sha256: str
    recipe: str
    charset: str  # its characters
    widths: str  # "squeezed to 100 px" or "ratio kept, up to 320 px"


TABLE: dict[str, Shipped] = {
    "crnn": Shipped(
        file="crnn.safetensors",
        sha256="b6b59db3b95c4091b2f94c6bf0567bebc6054507be929ee69b5bcbbf5c51a8ca",
        recipe="crnn",
        charset=NAMED["36"],
        widths="squeezed to 100 px",
    ),
    "crnn_small": Shipped(
        file="crnn_small.safetensors",
        sha256="196ee13e54dc13acf1dc17cc71cd563da637929aa004a2008c4b0b04de1c90b6",
        recipe="crnn_small",
        charset=NAMED["36"],
        widths="squeezed to 100 px",
    ),
    "crnn_small_94": Shipped(
        file="crnn_small_94.safetensors",
        sha256="0ab9947f9ba02241da5d8545284a9729e7be812d26bf01cfe7948c99daba06cc",
        recipe="crnn_small",
        charset=NAMED["94"],
        widths="squeezed to 100 px",
    ),
}


def path(name: str | None = None) -> Path:
    """The file of shipped weights; None: the first ones. Raises UserError: no such ones, or the file is damaged."""
    name = name or next(iter(TABLE))
    if name not in TABLE:
        raise UserError(f"no shipped weights called {name!r}; there are {', '.join(TABLE)}")
    return intact(FOLDER / TABLE[name].file, TABLE[name].sha256)


def of_recipe(recipe: str, characters: str | None = None) -> str | None:
    """The name of the first shipped weights of a recipe, and of an alphabet when one is given."""
    return next((n for n, row in TABLE.items() if row.recipe == recipe and characters in (None, row.charset)), None)


def intact(file: Path, expected: str) -> Path:
    """The file, when its content is what the table says. Raises UserError."""
    again = "get it again: git checkout -- models/weights"
    try:
        found = digest(file)
    except OSError as error:
        raise UserError(f"{file}: {error.strerror}; {again}") from None
    if found != expected:
        raise UserError(f"{file}: damaged or replaced (sha256 {found[:12]}..., not {expected[:12]}...); {again}")
    return file


def digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
