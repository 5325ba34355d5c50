"""Which engine was fastest for some weights on this machine: measured once by `auto`, used by whoever names none."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
from pathlib import Path

import torch

from bench.files import write_file
from bench.machine.device import Device
from bench.records.provenance import cpu_name
from models.engines.table import ENGINES, RUNTIMES
from models.weights import sha256_of


def memory_file() -> Path:
    """~/.cache/crnn-bench/engines.json, or below XDG_CACHE_HOME."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "crnn-bench" / "engines.json"


def make_key(weights_file: Path, device: Device) -> str:
    """What the choice depends on: weights, precision, processor, threads and the versions of the runtimes."""
    versions = [str(torch.__version__)]
    for name in RUNTIMES:
        try:
            versions.append(importlib.metadata.version(name))
        except importlib.metadata.PackageNotFoundError:
            versions.append("")
    place = [device.kind.name, device.precision, device.card_name(), cpu_name(), str(torch.get_num_threads())]
    return hashlib.sha256("\0".join([sha256_of(weights_file), *place, *versions]).encode()).hexdigest()


def recall(key: str) -> str | None:
    """The engine that was fastest; None when none was measured or the file cannot be read."""
    try:
        name = json.loads(memory_file().read_text(encoding="utf-8")).get(key)
    except (OSError, ValueError, AttributeError):
        return None
    return name if name in ENGINES else None


def remember(key: str, engine: str) -> None:
    """Best effort: where there is no home to write to, the next one measures again."""
    try:
        known = json.loads(memory_file().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        known = {}
    try:
        write_file(memory_file(), json.dumps({**(known if isinstance(known, dict) else {}), key: engine}, indent=1))
    except OSError:
        return
