"""Checkpoints: everything a run needs to go on as if it had never stopped. Written whole or not at all.

`last.pt` is the newest, `previous.pt` the one before it (in case the newest is damaged), `best.pt` the one with the
best validation accuracy. All are read with `weights_only=True`: a checkpoint from a stranger cannot run code.
"""

from __future__ import annotations

import io
import os
import random
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from bench.errors import UserError, one_line
from bench.files import lock_file, warn, write_error_reason, write_file
from bench.machine.device import Device
from bench.options import check_value, options_of
from bench.records.run_name import RunName
from models.data.charset import Charset
from models.network.model import Model
from models.run.options import Data
from models.weights import FOLDER, SHIPPED, verify_checksum
from models.weights.checksum import ChecksumError, append_checksum, has_valid_checksum, not_finite
from models.weights.file import Weights, load_weights
from models.weights.unpickle import UNREADABLE, unpickle, unreadable_reason

NAMES = ("last.pt", "previous.pt", "best.pt")
T = TypeVar("T")
FORMAT = 2  # 1: without a checksum of the file
OURS = "crnn-bench"  # the source of weights that this project trained
KINDS = {"network": dict, "charset": str, "data": dict, "model": dict}  # of the parts that programs ask for


_said: set[Path] = set()  # files of which it is told that they carry no checksum
_locks: dict[Path, int] = {}  # descriptors, kept open: closing one drops its lock


def claim(folder: Path) -> None:
    """Keep the folder to this process for as long as it lives. Raises UserError while another one trains there."""
    if folder in _locks:  # of an earlier run of this process
        os.close(_locks.pop(folder))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = lock_file(folder / "lock")
    except BlockingIOError:
        raise UserError(f"{folder}: another process trains there; wait for it, or choose other --checkpoints") from None
    except OSError as error:
        raise UserError(f"cannot write checkpoints to {folder}: {error.strerror}; choose other --checkpoints") from None
    if lock is None:
        print(f"warning: {folder}: its file system has no locks; see to it that one run at a time trains there")
    else:
        _locks[folder] = lock
    for partial in folder.glob("*.partial*"):
        partial.unlink(missing_ok=True)  # of a run that was killed while it wrote


def write(content: dict[str, Any], path: Path, before: Path | None = None) -> None:
    """Save atomically: a reader sees the old file or the new one, never half of one.

    `before` is a name for the file that is replaced, under which it stays. Raises UserError when the disk is full.
    """
    serialized = io.BytesIO()
    torch.save({**content, "format": FORMAT}, serialized)
    append_checksum(serialized)
    try:
        write_file(path, serialized.getbuffer(), before, sync=True)
    except OSError as error:
        reason = write_error_reason(error, len(serialized.getbuffer()), path.parent)
        raise UserError(f"cannot write {path}: {reason}; the checkpoint before it is untouched") from error


def write_last(content: dict[str, Any], folder: Path) -> None:
    """Write `last.pt`, keeping the one it replaces as `previous.pt`."""
    write(content, folder / "last.pt", folder / "previous.pt")


def read(path: Path) -> dict[str, Any]:
    """The content of a checkpoint, on the CPU, or of converted weights (.safetensors).

    Raises UserError when it is damaged, has weights that are not finite, or would run code.
    """
    if path.suffix == ".safetensors":
        if path.resolve().parent == FOLDER and (shipped := {one.file: one for one in SHIPPED.values()}.get(path.name)):
            verify_checksum(path, shipped.sha256)
        return load_weights(path)
    try:
        content = unpickle(path)
        if not isinstance(content, dict) or content.get("format") not in (1, FORMAT):
            raise UserError(
                f"{path}: not a checkpoint of this project; `python -m models.convert` reads those of others"
            )
        check_whole(path, content["format"])
    except UserError:
        raise
    except FileNotFoundError:
        raise UserError(f"no checkpoint at {path}") from None
    except ChecksumError as error:
        raise UserError(f"{path}: {error}") from None
    except UNREADABLE as error:
        raise UserError(f"{path}: not a readable checkpoint ({unreadable_reason(error, path)})") from None
    if isinstance(content.get("network"), dict) and (bad := not_finite(content["network"])):
        raise UserError(f"{path}: {bad}: such weights read nothing; take an earlier checkpoint of that run")
    return content


def check_whole(path: Path, made_as: int) -> None:
    """Raises ChecksumError when the bytes are not those that were written. Says so where the file cannot tell."""
    if has_valid_checksum(path):
        return
    if made_as == FORMAT:
        raise ChecksumError("damaged: it has lost the SHA-256 that it was written with")
    with zipfile.ZipFile(path) as archive:
        if member := archive.testzip():
            raise ChecksumError(f"damaged: {member} in it does not have its CRC-32")
    if path not in _said:
        warn(one_line(f"{path}: of an older release and carries no checksum; the CRC-32 of its parts hold"))
    _said.add(path)


def read_trained(path: Path, *parts: str) -> dict[str, Any]:
    """The content of a checkpoint that holds these parts besides a network and its alphabet. Raises UserError."""
    return check_parts(read(path), path, "network", "charset", *parts)


def check_parts(content: dict[str, Any], path: Path, *parts: str) -> dict[str, Any]:
    for part in parts:
        if part not in content:
            raise UserError(f"{path}: not a trained recogniser: it has no '{part}'")
        if not isinstance(content[part], KINDS[part]):
            kind = type(content[part]).__name__
            raise UserError(f"{path}: not a trained recogniser: its '{part}' is a {kind}, not a {KINDS[part].__name__}")
    if not all(isinstance(name, str) for name in content.get("network", ())):
        raise UserError(f"{path}: not a trained recogniser: its weights have names that are no strings")
    return content


def described(content: dict[str, Any], path: Path) -> tuple[Charset, Model, Data]:
    """What a checkpoint says of its network: alphabet, parts, shape of images. Raises UserError for what cannot be."""
    check_parts(content, path, *KINDS)
    try:
        charset = Charset(content["charset"], content["data"].get("right_to_left") is True)
    except UserError as refusal:
        raise UserError(f"{path}: {str(refusal)[:200]}") from None
    return charset, build_options(Model, {**content["model"], "pretrained": ""}, path), build_options(
        Data, {"charset": "", **content["data"]}, path, "height", "width", "channels"
    )  # fmt: skip


def build_options(kind: type[T], values: dict[str, Any], path: Path, *needed: str) -> T:
    """Options as a file has them, an older one without some. Raises UserError for what a command line may not say."""
    known = {option.key: option for option in options_of(kind)}
    for name in needed:
        if name not in values:
            raise UserError(f"{path}: not a trained recogniser: it does not say its {name}")
    for name, value in values.items():
        option = known.get(name)
        if option is None:
            raise UserError(f"{path}: made with an option {name!r}, which this release does not know")
        kinds = (int, float) if option.inner is float else (type(option.default),)
        if type(value) not in kinds:
            raise UserError(f"{path}: not a trained recogniser: its {name} is {str(value)[:40]!r}")
        if option.choices and value not in option.choices:
            raise UserError(f"{path}: made with {name} {value!r}, which this release does not know")
        try:
            check_value(option, value)
        except UserError as refusal:
            raise UserError(f"{path}: not a trained recogniser: {refusal}") from None
    return kind(**values)


def weights_of(content: dict[str, Any], path: Path) -> tuple[Weights, Charset]:
    """The network of a checkpoint and its alphabet. Raises UserError when parts of it are missing."""
    charset, model, data = described(content, path)
    recipe = content.get("recipe")
    shape = (data.channels, data.height, data.width, data.keep_ratio)
    weights = Weights(OURS, content["network"], model, charset.classes, *shape, recipe=recipe)
    weights.network()  # raises UserError when they do not fit
    return weights, charset


def read_last(folder: Path) -> tuple[dict[str, Any], Path] | None:
    """The newest readable checkpoint of a run, or None when it has none. Says so when it falls back.

    A damaged one is set aside, so that it never becomes the previous one. Raises UserError when none can be read.
    """
    damaged = []
    for name in ("last.pt", "previous.pt"):
        path = folder / name
        if not path.exists():
            continue
        try:
            return read(path), path
        except UserError as refusal:
            damaged.append(path.replace(path.with_suffix(".damaged")))
            print(f"warning: {refusal}; kept as {damaged[-1].name}; falling back to the checkpoint before it")
    if damaged:
        raise UserError(
            f"{folder}: no checkpoint there can be read ({', '.join(path.name for path in damaged)});"
            " start again without --resume, or from the weights of best.pt with --start-from"
        )
    return None


def folders_of(name: RunName, own: Path, any_length: bool) -> list[Path]:
    """The folders with checkpoints of this run: on whatever cards, then of whatever length, the newest first."""
    alike = [(how, folder) for folder in own.parent.glob("*") if (how := likeness(name, folder.name, any_length))]
    written = {
        (how, -max(file.stat().st_mtime_ns for file in files)): folder
        for how, folder in alike
        if (files := list(folder.glob("[lp]*.pt")))
    }
    return [written[place] for place in sorted(written)]


def likeness(name: RunName, folder: str, any_length: bool) -> int:
    """1: the same run but for its number of cards; 2: and its length; 0: another run."""
    try:
        theirs = RunName.parse(folder)
    except UserError:
        return 0
    if replace(theirs, cards=name.cards) == name:
        return 1
    as_long = replace(theirs, cards=name.cards, epochs=name.epochs, steps=name.steps)
    return 2 if any_length and as_long == name else 0


def remove_all(folder: Path) -> None:
    """Remove the checkpoints of a run that another one replaces."""
    for name in NAMES:
        (folder / name).unlink(missing_ok=True)


def newest_best(root: Path, recipe: str) -> Path | None:
    """`root` itself when it is a file, else the newest best.pt of this recipe below it."""
    if root.is_file():
        return root
    runs = [path for path in root.glob("*/best.pt") if is_run_of(recipe, path.parent.name)]
    return max(runs, key=lambda path: path.stat().st_mtime, default=None)


def is_run_of(recipe: str, folder: str) -> bool:
    try:
        return RunName.parse(folder).recipe == recipe
    except UserError:
        return False


def refuse_other(content: dict[str, Any], path: Path, charset: str, recipe: str | None = None) -> None:
    """Raises UserError when the checkpoint is of another recipe or alphabet."""
    check_parts(content, path, "network", "charset")
    if recipe and (content.get("recipe") or recipe) != recipe:
        raise UserError(
            f"{path}: trained with the recipe {content['recipe']!r}, not '{recipe}': pass the matching --recipe"
        )
    if content["charset"] != charset:
        theirs = content["charset"]
        raise UserError(
            f"{path}: trained for another alphabet ({len(theirs)} characters, {theirs[:20]!r}...) than the one asked"
            f" for ({len(charset)}, {charset[:20]!r}...): pass the matching --data.charset"
        )


def restore_weights(
    network: nn.Module, content: dict[str, Any], path: Path, charset: str, recipe: str | None = None
) -> None:
    """Load the weights. Raises UserError when the checkpoint is of another recipe, alphabet or network."""
    refuse_other(content, path, charset, recipe)
    try:
        network.load_state_dict(content["network"])
    except RuntimeError as error:
        reasons = " ".join(str(error).split())
        raise UserError(f"{path}: the weights are of another network: {reasons[:300]}") from None


def random_state(device: Device) -> dict[str, Any]:
    """The state of every generator that a run draws from."""
    version, internal, gauss = random.getstate()
    return {
        "python": [version, list(internal), gauss],
        "torch": torch.get_rng_state(),
        "device": device.rng_state(),
    }


def restore_random_state(state: dict[str, Any], device: Device) -> None:
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    torch.set_rng_state(state["torch"])
    device.set_rng_state(state["device"])
