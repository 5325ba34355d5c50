"""The marker beside a sample's annotations: that it is one, and all that decided its bytes."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bench.errors import UserError
from models.rendering.files import INSIDE, MARKER
from models.rendering.fonts import Face
from models.rendering.sample import Sample
from models.rendering.styles import STYLES

LIBRARIES = ("numpy", "pillow", "simplejpeg")  # they draw and encode, so another version may give other bytes


def describe_sample(sample: Sample) -> dict[str, Any]:
    """What SAMPLE.json says."""
    look = sample.look
    return {
        "sample": True,
        "renderer": STYLES[look.style].version,
        "count": sample.count,
        "seed": look.seed,
        "style": look.style,
        "case": look.case,
        "splits": {name: len(pictures) for name, pictures in sample.splits().items()},
        "words": len(sample.words),
        "lexicon": short_sha256(["\n".join(sample.words).encode()]),
        "fonts": [face.name for face in look.faces],
        **({} if look.weights is None else {"weights": list(look.weights)}),
        "fonts_digest": short_sha256(Path(path).read_bytes() for path in files_of(look.faces)),
        "libraries": {name: importlib.metadata.version(name) for name in LIBRARIES},
    }


def files_of(faces: Iterable[Face]) -> dict[str, None]:
    return dict.fromkeys(path for face in faces for path in face.files)


def short_sha256(parts: Iterable[bytes]) -> str:
    whole = hashlib.sha256()
    for part in parts:
        whole.update(part)
    return whole.hexdigest()[:16]


def refuse_other_sample(out: Path, about: dict[str, Any], inside: Path = INSIDE) -> None:
    """Raises UserError unless the dataset below `out` is the very sample that `about` describes."""
    target = out / inside.parts[0]
    try:
        there = json.loads((out / inside / MARKER).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{target} holds a dataset that was not rendered; give another --out") from None
    differs = [key for key in about if there.get(key) != about[key]]
    if differs:
        what = f"{differs[0]} {there.get(differs[0])!r}, not {about[differs[0]]!r}"[:160]
        raise UserError(f"{target} holds another sample ({what}); remove it or give another --out")
