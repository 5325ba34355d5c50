"""Trained weights that come with the repository: manifest.json lists the files of this folder and their checksums.

`python -m models.convert best.pt models/weights/NAME.safetensors --half --manifest models/weights/manifest.json` adds
one. `Recogniser.load()` takes the first; `models.test` takes that of its recipe when there is no trained checkpoint.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.errors import UserError
from bench.files import write_file

FOLDER = Path(__file__).resolve().parent
MANIFEST = FOLDER / "manifest.json"


@dataclass(frozen=True)
class ShippedWeights:
    """An entry of the manifest. The file's own metadata says the same of recipe, charset and widths."""

    file: str
    sha256: str
    recipe: str
    charset: str  # its characters
    widths: str  # "squeezed to 100 px" or "ratio kept, up to 320 px"
    confidence: tuple[float, ...] | None = None  # as models.calibrate fits it


def read_manifest(path: Path) -> dict[str, ShippedWeights]:
    """The entries by name. Raises UserError when it cannot be read."""
    try:
        return {name: ShippedWeights(**entry) for name, entry in json.loads(path.read_text(encoding="utf8")).items()}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: not a manifest of weights ({error}); git checkout -- models/weights") from None


def add_to_manifest(name: str, entry: ShippedWeights, path: Path) -> None:
    """Add an entry, or replace the one of that name."""
    entries = {**(read_manifest(path) if path.exists() else {}), name: entry}
    content = {name: asdict(entry) for name, entry in entries.items()}
    write_file(path, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


SHIPPED = read_manifest(MANIFEST)


def path(name: str | None = None) -> Path:
    """The file of shipped weights; None: the first in the manifest. Raises UserError: unknown, missing or damaged."""
    name = name or next(iter(SHIPPED))
    if name not in SHIPPED:
        raise UserError(f"no shipped weights called {name!r}; there are {', '.join(SHIPPED)}")
    return verify_checksum(FOLDER / SHIPPED[name].file, SHIPPED[name].sha256)


def confidence(name: str | None = None) -> tuple[float, ...] | None:
    """The calibration of shipped weights; None: of the first in the manifest."""
    return SHIPPED[name or next(iter(SHIPPED))].confidence


def find(source: Path) -> Path:
    """The file that a path is, or that of the shipped weights of this name. Raises UserError: missing or damaged."""
    return path(str(source)) if str(source) in SHIPPED else source


def shipped_name(file: Path) -> str | None:
    """The name of the shipped weights that this file is; None: it is another file."""
    file = file.resolve()
    return next((name for name, entry in SHIPPED.items() if file == FOLDER / entry.file), None)


def of_recipe(recipe: str, characters: str | None = None) -> str | None:
    """The name of the first shipped weights of a recipe, and of an alphabet when one is given."""
    of_it = (name for name, entry in SHIPPED.items() if entry.recipe == recipe)
    return next((name for name in of_it if characters in (None, SHIPPED[name].charset)), None)


def verify_checksum(file: Path, expected: str) -> Path:
    """The file, when its sha256 is the expected one. Raises UserError."""
    remedy = "restore it: git checkout -- models/weights"
    try:
        actual = sha256_of(file)
    except OSError as error:
        raise UserError(f"{file}: {error.strerror}; {remedy}") from None
    if actual != expected:
        raise UserError(f"{file}: damaged or replaced (sha256 {actual[:12]}..., not {expected[:12]}...); {remedy}")
    return file


def sha256_of(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
