"""The one place where a file of weights from elsewhere is opened. Nothing in it runs, nothing in it is unpacked.

`weights_only=True` builds tensors and plain containers alone. Two things are refused before torch sees the file: its
oldest format, a tar archive, out of which torch before 2.6 let code run in spite of that (CVE-2025-32434) and whose
members were extracted; and a ZIP with compressed members, which torch.save never writes and which may be a bomb.
"""

from __future__ import annotations

import pickle
import re
import struct
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from bench.errors import UserError

State = dict[str, Tensor]

# What `unpickle` raises for a file that holds no weights, or half of them, or wants to run code.
UNREADABLE = (OSError, RuntimeError, EOFError, pickle.UnpicklingError, zipfile.BadZipFile, ValueError, LookupError)
# What torch's unpickler raises for rubbish, beside what it says it raises.
RUBBISH = (AttributeError, TypeError, AssertionError, MemoryError, RecursionError, struct.error, SafetensorError)


def unpickle(path: Path) -> Any:
    """Tensors and plain containers out of a .pt, .pth, .ckpt or .safetensors file, on the CPU.

    Raises one of UNREADABLE: pickle.UnpicklingError for what could run code.
    """
    if path.exists() and not path.is_file():
        raise ValueError("not a file")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        refuse_archive(path)
        with brief_storages():
            return torch.load(path, map_location="cpu", weights_only=True)
    except RUBBISH as error:
        raise ValueError(f"{type(error).__name__}: {error}") from None


@contextmanager
def brief_storages() -> Iterator[None]:
    """torch prints what it refuses, and a storage prints all its numbers: with billions of them, which a file of some
    hundred bytes may ask for, that takes hours and all memory.
    """
    kinds = torch.storage.TypedStorage, torch.storage._StorageBase
    whole = [(kind, kind.__str__) for kind in kinds]
    for kind in kinds:
        kind.__str__ = object.__repr__  # type: ignore[method-assign]  # while the block runs
    try:
        yield
    finally:
        for kind, original in whole:
            kind.__str__ = original  # type: ignore[method-assign]


def refuse_archive(path: Path) -> None:
    with path.open("rb") as file:
        zipped = file.read(4) == b"PK\x03\x04"  # by which torch, too, knows a ZIP
    if not zipped and tarfile.is_tarfile(path):
        raise pickle.UnpicklingError("a tar archive; save it again with a torch of this decade")
    if zipped:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(member.file_size for member in archive.infolist())
        if unpacked > path.stat().st_size:
            raise ValueError(f"its members are compressed: {unpacked:,} bytes in {path.stat().st_size:,}")


def first_bytes(path: Path) -> bytes:
    """The beginning of a file; of what is none (opening a pipe would block) nothing."""
    if not path.is_file():
        return b""
    with path.open("rb") as file:
        return file.read(512)


def unreadable_reason(error: BaseException, path: Path) -> str:
    """Why a file holds no weights, in some words: what it looks like, where that tells, else what torch says."""
    with suppress(OSError):
        start = first_bytes(path).lstrip()
        if start[:1] == b"<" and re.match(rb"<(!doctype|html|head|\?xml)", start, re.IGNORECASE):
            return "a web page: the link led to a page about the file; download the file itself"
        if start.startswith(b"version https://git-lfs"):
            return "a pointer of Git LFS; `git lfs pull` brings the file itself"
        if not start and path.is_file():
            return "an empty file"
    said = str(error).strip().splitlines()
    if said and said[0].startswith("Weights only load failed"):  # torch's advice is to switch the protection off
        return "more than weights, and reading that could run code in it"
    return said[0][:160] if said else type(error).__name__


def read_weights(path: Path) -> State:
    """The tensors of a file, wherever they are in it. Raises UserError when more than tensors must be built."""
    return find_tensors(read_file(path), path)


def read_file(path: Path) -> Any:
    """What `unpickle` returns. Raises UserError, in one line, where that raises."""
    try:
        return unpickle(path)
    except FileNotFoundError:
        raise UserError(f"no file at {path}") from None
    except pickle.UnpicklingError as error:
        if (reason := unreadable_reason(error, path)).startswith(("a web page", "a pointer", "an empty")):
            raise UserError(f"{path}: not a readable weights file ({reason})") from None
        asked = re.search(r"GLOBAL ([\w.]+)", str(error))
        needs = f" (it asks for {asked[1]})" if asked else ""
        raise UserError(
            f"{path}: more than weights{needs}, and reading that could run code in it; save its state_dict() alone"
        ) from None
    except UNREADABLE as error:
        raise UserError(f"{path}: not a readable weights file ({unreadable_reason(error, path)[:120]})") from None


def find_tensors(content: Any, path: Path) -> State:
    """The first mapping from names to tensors alone: the content itself, or something it holds (`state_dict`, ...)."""
    inside = content.values() if isinstance(content, dict) else ()
    for candidate in (content, *inside):
        if isinstance(candidate, dict) and candidate and all(map(is_weight, candidate.items())):
            return dict(candidate)
    raise UserError(f"{path}: holds no table of weights")


def is_weight(item: tuple[object, object]) -> bool:
    return isinstance(item[0], str) and isinstance(item[1], Tensor)
