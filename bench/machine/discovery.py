"""How many cards of a kind answer, and why not more. bench/machine/device.py has the table of kinds."""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

# Count cards through the driver's management library: plain is_available() would start a context and poison fork.
os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")
os.environ.setdefault("PYTORCH_CNDEV_BASED_MLU_CHECK", "1")

import torch

if TYPE_CHECKING:
    from bench.machine.device import DeviceKind


def visibility(kind: DeviceKind, environment: Mapping[str, str] = os.environ) -> tuple[str, str] | None:
    """(variable, value) of the variable that picks the cards of this kind; None where all are seen."""
    return next(((name, environment[name]) for name in kind.visible if name in environment), None)


def installed(kind: DeviceKind) -> bool:
    return kind.extension is None or importlib.util.find_spec(kind.extension) is not None


def count(kind: DeviceKind) -> tuple[int, str]:
    """How many cards answer, and why not more. The number of processes on a CPU has no such limit: 1."""
    if kind.type == "cpu":
        return 1, ""
    if not installed(kind):
        return 0, f"{kind.extension} is not installed"
    try:
        if kind.extension:
            importlib.import_module(kind.extension)
        module = getattr(torch, kind.type)
        found = module.device_count() if module.is_available() else 0
    except (ImportError, OSError, RuntimeError, AttributeError) as error:
        # The wheel without its driver fails in all these ways.
        return 0, f"{kind.extension or 'torch'} does not load here: {first_line(error)}"
    return found, limits(kind, found)


def limits(kind: DeviceKind, found: int) -> str:
    """Why a library that loads shows so few cards; empty where that is what there is."""
    if chosen := visibility(kind):
        name, value = chosen
        return f"{name}='{value}' leaves {found} to {kind.extension or 'torch'}: unset it, or name cards that are here"
    return "" if found else f"the driver shows no {kind.name}: does {kind.monitor}?"


def first_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0][:300]}"
