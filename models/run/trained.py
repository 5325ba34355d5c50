"""Which weights a test reads with, and the options that follow from them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, fields, replace
from operator import attrgetter
from pathlib import Path
from typing import Any, TypeVar

from bench.errors import UserError
from bench.options import Command
from bench.records.sections import TrainingResult
from models import weights
from models.data.charset import Charset
from models.network.model import Model
from models.network.network import Network
from models.run.context import Context
from models.run.options import Common, Infer, checkpoint_root
from models.weights import checkpoint

Opens = TypeVar("Opens", bound=Common)
Reads = TypeVar("Reads", bound=Infer)
SHAPE = ("height", "width", "channels", "keep_ratio", "right_to_left")


@dataclass(frozen=True)
class Trained:
    """A file of weights and what it holds."""

    path: Path
    content: dict[str, Any]


def parse_by_weights(
    command: Command[Opens], argv: Sequence[str] | None, named: Callable[[Opens], Path | None]
) -> tuple[Opens, frozenset[str]]:
    """The options and the keys of those given. Without --recipe it is that of the file that `named` gives."""
    options, given = command.parse_given(argv)
    root = checkpoint_root(options)
    path = named(options) or (root if root.is_file() else None)
    if path and "recipe" not in given and (recipe := (content := checkpoint.read(weights.find(path))).get("recipe")):
        words = sys.argv[1:] if argv is None else argv
        own = (content.get("options") or {}).get("recipes")  # of one's own, where it still lies there
        folder = ["--recipes", own] if own and "recipes" not in given and Path(own).is_dir() else []
        options, _ = command.parse_given(["--recipe", str(recipe), *folder, *words])
    return options, given


def choose_trained(options: Reads, given: Collection[str]) -> tuple[Reads, Charset, Trained | None]:
    """--checkpoint, the newest best one, or shipped weights; alphabet, network and shape are what the file says.

    Raises UserError for an option of `given` that says otherwise. Without any weights the options stay as they are.
    """
    path = options.checkpoint or checkpoint.newest_best(checkpoint_root(options), options.recipe)
    if path:
        path = weights.find(path)
        trained = Trained(path, checkpoint.read_trained(path, "data", "model"))
        return follow_weights(options, given, trained)
    charset = Charset.named(options.data.charset, options.data.right_to_left)
    shipped = find_shipped(options, charset)
    return options, charset, Trained(shipped, checkpoint.read(shipped)) if shipped else None


def follow_weights(options: Reads, given: Collection[str], trained: Trained) -> tuple[Reads, Charset, Trained]:
    charset, model, data = checkpoint.described(trained.content, trained.path)
    asked = Charset.named(options.data.charset) if "data.charset" in given else charset
    checkpoint.refuse_other(trained.content, trained.path, asked.characters, options.recipe)
    keep = {key for key in SHAPE if f"data.{key}" in given and "shape" in options.allow}
    theirs = {f"data.{key}": getattr(data, key) for key in SHAPE if key not in keep}
    theirs |= {f"model.{each.name}": getattr(model, each.name) for each in fields(Model) if each.name != "pretrained"}
    differ = [key for key in theirs.keys() & set(given) if attrgetter(key)(options) != theirs[key]]
    if differ:
        said = "; ".join(
            f"--{key.replace('_', '-')} {theirs[key]}, not {attrgetter(key)(options)}" for key in sorted(differ)
        )
        way = " (or test it so with --allow shape)" if all(key.startswith("data.") for key in differ) else ""
        raise UserError(f"{trained.path}: trained with {said}: leave that out, it is in the file{way}")
    shape = {key: getattr(data, key) for key in SHAPE if key not in keep}
    named = options.data.charset if "data.charset" in given else data.charset or options.data.charset
    own = replace(options.data, **shape, charset=named)
    return replace(options, data=own, model=replace(model, pretrained=options.model.pretrained)), charset, trained


def load_trained(network: Network, trained: Trained | None, context: Context, charset: Charset) -> TrainingResult:
    """Load the weights and say which. What the record holds of them; without any they stay random."""
    if trained is None:
        context.say(
            "  no trained checkpoint: random weights, so this measures speed only and accuracy stays empty.\n"
            "  Train one with `bash run_scripts/quickstart.sh`, or pass --checkpoint FILE."
        )
        return {"checkpoint": None}
    path = trained.path
    checkpoint.restore_weights(network, trained.content, path, charset.characters, context.options.recipe)
    shipped = ", which come with the repository" if path.parent == weights.FOLDER else ""
    context.say(f"  weights: {path}{shipped}")
    return {"checkpoint": str(path)}


def find_shipped(options: Infer, charset: Charset) -> Path | None:
    """The weights that come with the repository, when they are for this recipe, alphabet, network and shape."""
    name = weights.of_recipe(options.recipe, charset.characters)
    if name is None:
        return None
    path = weights.path(name)
    content = checkpoint.read(path)
    data = {key: getattr(options.data, key) for key in content["data"]}
    model = Model(**content["model"])  # an option younger than the weights is at its default
    wanted = (charset.characters, options.model, data)
    return path if wanted == (content["charset"], model, content["data"]) and not charset.right_to_left else None
