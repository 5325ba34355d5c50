"""Checkpoints: everything a run needs to go on as if it had never stopped. Written whole or not at all.

`last.pt` is the newest, `previous.pt` the one before it (in case the newest is damaged), `best.pt` the one with the
best validation accuracy. All are read with `weights_only=True`: a checkpoint from a stranger cannot run code.
"""

from __future__ import annotations

import fcntl
import io
import os
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from bench.errors import UserError
from bench.files import write_error_reason, write_file
from bench.machine.device import Device
from bench.records.run_name import RunName
from models.data.charset import Charset
from models.network.model import Model
from models.weights.file import Weights, load_weights
from models.weights.unpickle import UNREADABLE, unpickle

FORMAT = 1
OURS = "crnn-bench"  # the source of weights that this project trained
KINDS = {"network": dict, "charset": str, "data": dict, "model": dict}  # of the parts that programs ask for


_locks: dict[Path, int] = {}  # descriptors, kept open: closing one drops its lock


def claim(folder: Path) -> None:
    """Keep the folder to this process for as long as it lives. Raises UserError while another one trains there.

    A POSIX lock: the kernel drops it with the process, however that ends, and no forked worker inherits it.
    """
    if folder in _locks:  # of an earlier run of this process
        os.close(_locks.pop(folder))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = _locks[folder] = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o644)
    except OSError as error:
        raise UserError(f"cannot write checkpoints to {folder}: {error.strerror}; choose other --checkpoints") from None
    try:
        fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UserError(f"{folder}: another process trains there; wait for it, or choose other --checkpoints") from None
    except OSError:
        print(f"warning: {folder}: its file system has no locks; see to it that one run at a time trains there")
    for partial in folder.glob("*.partial*"):
        partial.unlink(missing_ok=True)  # of a run that was killed while it wrote


def write(content: dict[str, Any], path: Path, before: Path | None = None) -> None:
    """Save atomically: a reader sees the old file or the new one, never half of one.

    `before` is a name for the file that is replaced, under which it stays. Raises UserError when the disk is full.
    """
    serialized = io.BytesIO()
    torch.save({"format": FORMAT, **content}, serialized)
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

    Raises UserError when it is damaged or would run code.
    """
    if path.suffix == ".safetensors":
        return load_weights(path)
    try:
        content = unpickle(path)
    except FileNotFoundError:
        raise UserError(f"no checkpoint at {path}") from None
    except UNREADABLE as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(f"{path}: not a readable checkpoint ({reason[:160]})") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise UserError(f"{path}: not a checkpoint of this project; `python -m models.convert` reads those of others")
    return content


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


def weights_of(content: dict[str, Any], path: Path) -> tuple[Weights, Charset]:
    """The network of a checkpoint and its alphabet. Raises UserError when parts of it are missing."""
    check_parts(content, path, *KINDS)
    data, charset = content["data"], Charset(content["charset"])
    model = Model(**{**content["model"], "pretrained": ""})
    shape = {name: data[name] for name in ("channels", "height", "width")}
    keep_ratio, recipe = data.get("keep_ratio", False), content.get("recipe")
    weights = Weights(OURS, content["network"], model, charset.classes, **shape, keep_ratio=keep_ratio, recipe=recipe)
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


def newest_folder(name: RunName, own: Path) -> Path:
    """Of the folders of this run, on whatever number of cards, the one that was written to last."""
    alike = [folder for folder in own.parent.glob("*") if is_same_run(name, folder.name)]
    written = {file.stat().st_mtime: folder for folder in alike for file in folder.glob("[lp]*.pt")}
    return written[max(written)] if written else own


def is_same_run(name: RunName, folder: str) -> bool:
    try:
        return replace(RunName.parse(folder), cards=name.cards) == name
    except UserError:
        return False


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


def restore_weights(
    network: nn.Module, content: dict[str, Any], path: Path, charset: str, recipe: str | None = None
) -> None:
    """Load the weights. Raises UserError when the checkpoint is of another recipe, alphabet or network."""
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
