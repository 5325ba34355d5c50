"""What a checkpoint says of the run that wrote it, and in what a run that would go on from it differs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, fields
from operator import attrgetter
from pathlib import Path
from typing import Any

from bench.errors import UserError
from bench.options import hyphens
from models.data.digest import DataDigest
from models.network.model import Model
from models.run.options import Optimizer, Train

# The options that a resumed run must share with the first, by the word that --allow takes. "data" is the data set.
COMPARED = {
    "shape": ("data.height", "data.width", "data.channels", "data.keep_ratio"),
    "model": tuple(f"model.{each.name}" for each in fields(Model) if each.name != "pretrained"),
    "optimizer": (*(f"optimizer.{each.name}" for each in fields(Optimizer)), "ema", "freeze", "nonfinite"),
    "batch": ("batch_size", "accumulate"),
    "seed": ("seed",),
    "precision": ("precision", "exchange.gradients"),
    "augment": ("augment",),
}
OTHER_ORDER = ("data", "shape", "seed")  # another of these, and an epoch is other samples or another order of them


def plain_options(options: Train) -> dict[str, Any]:
    """The options in types that a checkpoint may hold."""

    def plain_value(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain_value(one) for key, one in value.items()}
        return str(value) if isinstance(value, Path) else value

    found: dict[str, Any] = plain_value(asdict(options))
    return found


def differences(
    content: dict[str, Any], options: Train, samples: int, digest: Callable[[], DataDigest | None]
) -> dict[str, list[str]]:
    """By the word that allows it: what this run has otherwise than the one of the checkpoint, as far as that says it.

    samples: of an epoch of this run. digest: of its data, asked for only where the checkpoint has one.
    """
    found = {"data": list(data_differences(content, samples, digest))}
    theirs = content.get("options") or {"data": content.get("data", {}), "model": content.get("model", {})}
    for word, keys in COMPARED.items():
        found[word] = list(option_differences(theirs, options, keys))
    return {word: said for word, said in found.items() if said}


def data_differences(content: dict[str, Any], samples: int, digest: Callable[[], DataDigest | None]) -> Iterator[str]:
    kept = content.get("data_digest")
    if kept:
        own = digest()
        if own and own.hex != kept["hex"]:
            yield f"the data set ({content.get('dataset')} was {kept['hex'][:12]}, this is {own.hex[:12]})"
    elif content["position"]["consumed"] > samples:
        yield f"the data set ({content['position']['consumed']:,} samples of an epoch were seen, this has {samples:,})"


def option_differences(theirs: dict[str, Any], options: Train, keys: tuple[str, ...]) -> Iterator[str]:
    for key in keys:
        section, _, name = key.rpartition(".")
        values = theirs.get(section, {}) if section else theirs
        own = attrgetter(key)(options)
        if name in values and as_text(values[name]) != as_text(own):
            yield f"--{hyphens(key)} ({as_text(values[name])} then, {as_text(own)} now)"


def as_text(value: Any) -> str:
    """Equal for a list and a tuple, for 1 and 1.0."""
    if isinstance(value, list | tuple):
        return ",".join(map(as_text, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def refuse_differences(found: dict[str, list[str]], path: Path, options: Train) -> None:
    """Raises UserError for differences that --allow does not name."""
    refused = {word: said for word, said in found.items() if word not in options.allow}
    if refused:
        said = "; ".join(one for some in refused.values() for one in some)
        words = ",".join([*dict.fromkeys([*options.allow, *refused])])
        raise UserError(f"{path}: made otherwise: {said}. Take that back, or go on nevertheless with --allow {words}")
