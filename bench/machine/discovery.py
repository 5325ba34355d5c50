"""The kinds of device a run may use, as rows of a table; how many cards of each answer here, and why not more.

Vendor names appear in this file only. `torch_mlu` registers `torch.mlu` with the functions of `torch.cuda`, so that one
code path serves both; everything in which devices differ is a column. Facts about Cambricon's backend:
Cambricon/torch_mlu r2.4 (see docs/mlu.md).
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

# Count cards through the driver's management library: plain is_available() would start a context and poison fork.
os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")
os.environ.setdefault("PYTORCH_CNDEV_BASED_MLU_CHECK", "1")

import torch

from bench.errors import UserError
from bench.records.run_name import DEVICES as ORDER


@dataclass(frozen=True)
class DeviceKind:
    """A row of the table: everything in which one kind of device differs from another."""

    name: str  # as a run name spells it
    type: str  # torch's device type
    backend: str  # torch.distributed's backend
    amp: torch.dtype  # what AMP computes in
    scaled: bool  # AMP needs loss scaling
    extension: str | None = None  # a package to import before torch knows the type
    tf32: tuple[str, ...] = ()  # switches under `torch.` that must be off for FP32 to mean FP32
    visible: tuple[str, ...] = ()  # environment variables that pick cards; the first that is set counts
    monitor: str = ""  # the vendor's program that shows the driver and who holds a card
    nodes: str = ""  # pattern of the names in /dev of the cards themselves, not of their controls
    profiler: tuple[str, ...] = ()  # torch.profiler activities that trace its kernels, the first that torch has counts
    bf16_recurrent: str = "autocast"  # who sees to bfloat16 recurrent layers: autocast, "cast" we do, float32 nobody
    fused_adam: bool | None = False  # one kernel updates all weights, and skips by itself; None: ask torch
    own_ctc: bool = False  # network/ctc_loss.py: the library's would wait for the host, and cannot be captured
    graphs: bool = False  # a step can be captured and replayed
    in_flight: int = 1  # batches that are read at once, so that decoding on the host overlaps
    tries_convolutions: bool = False  # its library can time its kernels and keep the fastest
    uuid_prefix: str = ""  # what its driver writes before the UUID that torch tells
    has_cudnn: bool = False

    @property
    def is_card(self) -> bool:
        """A device with a memory, a queue and a clock of its own: not the host itself."""
        return self.type != "cpu"


DEVICES = {
    kind.name: kind
    for kind in (
        DeviceKind(
            "MLU",
            "mlu",
            "cncl",
            torch.float16,
            scaled=True,
            extension="torch_mlu",
            # Convolutions default to TF32 on MLU: an "FP32" row that leaves the first switch alone is not FP32.
            tf32=(
                "backends.cnnl.allow_tf32",
                "backends.mlu.matmul.allow_tf32",
                "backends.mlu.custom.allow_tf32",
            ),
            # torch_mlu obeys CUDA's variable, too, where its own are not set: a stray one hides every card.
            visible=("CN_VISIBLE_DEVICES", "MLU_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES"),
            monitor="cnmon",
            nodes=r"cambricon_dev\d+",
            profiler=("MLU", "PrivateUse1"),  # torch_mlu adds its own; without it PrivateUse1 is the same slot
            fused_adam=None,  # not in every release of torch_mlu
            bf16_recurrent="float32",  # a bfloat16 LSTM falls back to single steps (torch_mlu r2.4, rnn.cpp)
        ),
        DeviceKind(
            "GPU",
            "cuda",
            "nccl",
            torch.float16,
            scaled=True,
            tf32=("backends.cuda.matmul.allow_tf32", "backends.cudnn.allow_tf32"),
            visible=("CUDA_VISIBLE_DEVICES",),
            monitor="nvidia-smi",
            nodes=r"nvidia\d+",
            profiler=("CUDA",),
            fused_adam=True,
            own_ctc=True,
            graphs=True,
            in_flight=2,
            tries_convolutions=True,
            bf16_recurrent="cast",  # torch's autocast of cuDNN's is fixed to float16 (autocast/AutocastRNN.cpp)
            uuid_prefix="GPU-",
            has_cudnn=True,
        ),
        DeviceKind("CPU", "cpu", "gloo", torch.bfloat16, scaled=False, fused_adam=hasattr(torch, "get_autocast_dtype")),
    )
}


def visibility(kind: DeviceKind, environment: Mapping[str, str] = os.environ) -> tuple[str, str] | None:
    """(variable, value) of the variable that picks the cards of this kind; None where all are seen."""
    return next(((name, environment[name]) for name in kind.visible if name in environment), None)


def is_installed(kind: DeviceKind) -> bool:
    return kind.extension is None or importlib.util.find_spec(kind.extension) is not None


def count_cards(kind: DeviceKind) -> tuple[int, str]:
    """How many cards answer, and why not more. The number of processes on a CPU has no such limit: 1."""
    if not kind.is_card:
        return 1, ""
    if not is_installed(kind):
        return 0, f"{kind.extension} is not installed"
    if kind.type == "cuda" and (why := wrong_cuda()):  # cards that the driver shows are of no use then
        return 0, why
    try:
        if kind.extension:
            importlib.import_module(kind.extension)
        module = getattr(torch, kind.type)
        found = module.device_count() if module.is_available() else 0
    except (ImportError, OSError, RuntimeError, AttributeError) as error:
        # The wheel without its driver fails in all these ways.
        return 0, f"{kind.extension or 'torch'} does not load here: {first_line(error)}"
    return found, why_so_few(kind, found)


def why_so_few(kind: DeviceKind, found: int) -> str:
    """Why a library that loads shows so few cards; empty where that is what there is."""
    if chosen := visibility(kind):
        name, value = chosen
        return f"{name}='{value}' leaves {found} to {kind.extension or 'torch'}: unset it, or name cards that are here"
    return "" if found else f"the driver shows no {kind.name}: does {kind.monitor}?"


OLDEST_DRIVER = {13: "580", 12: "525", 11: "450"}  # of Linux, by the major version of CUDA that a torch is built for


def wrong_cuda() -> str:
    """Why this torch can use no NVIDIA card that is there: it has no CUDA, or one that the driver is too old for."""
    if torch.version.cuda is None:
        built = "for AMD's ROCm" if getattr(torch.version, "hip", None) else "without CUDA"
        return f"torch {torch.__version__} is built {built}: install one with it (docs/gpu.md says which)"
    needed, known = int(torch.version.cuda.partition(".")[0]), driver_cuda()
    if known is None or known[0] >= needed:
        return ""
    least = OLDEST_DRIVER.get(needed, "a newer one")
    return (
        f"the driver knows CUDA {known[0]}.{known[1]} and torch {torch.__version__} is built for {torch.version.cuda}:"
        f" it wants driver {least} or later, or install a torch for CUDA {known[0]} (docs/gpu.md says how)"
    )


def driver_cuda() -> tuple[int, int] | None:
    """The newest CUDA that the driver knows; None where there is no driver. Asked without starting anything."""
    version = ctypes.c_int()
    try:
        failed = ctypes.CDLL("libcuda.so.1").cuDriverGetVersion(ctypes.byref(version))
    except (OSError, AttributeError):
        return None
    return None if failed else (version.value // 1000, version.value % 1000 // 10)


def first_line(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0][:300]}"


def present(name: str) -> int:
    """How many cards of this kind are here. A process count is not limited by the machine, so CPU answers 1."""
    return count_cards(DEVICES[name])[0]


def inventory() -> dict[str, int]:
    return {name: present(name) for name in ORDER}


def best() -> str:
    """The best device present: MLU, then GPU, then CPU."""
    return next(name for name in ORDER if present(name))


def missing_devices(folder: Path = Path("/dev")) -> list[str]:
    """A sentence for each vendor whose cards a run would pass over: its library is installed here or its cards' nodes
    are, and no card answers.
    """
    expected = {
        name: kind
        for name, kind in DEVICES.items()
        if (kind.extension and is_installed(kind)) or (visibility(kind) is None and card_nodes(kind, folder))
    }
    found = {name: count_cards(kind) for name, kind in expected.items()}
    return [f"no {name} is used: {why}" for name, (cards, why) in found.items() if not cards]


def require(name: str, cards: int, hint: str = "") -> None:
    """Raises UserError, saying what was found and why not more, when `cards` devices of this kind are not here."""
    found = inventory()
    if name == "CPU" or found[name] >= cards:
        return
    here = ", ".join(f"{count} {kind}" for kind, count in found.items() if kind != "CPU")
    why = count_cards(DEVICES[name])[1]
    parts = (f"{cards} {name} asked for; found {here} and {os.cpu_count()} CPU cores", why, hint)
    raise UserError(". ".join(filter(None, parts)))


def card_name(name: str) -> str:
    """What the first card of this kind is called by its vendor's library."""
    return str(getattr(torch, DEVICES[name].type).get_device_name(0))


def card_nodes(kind: DeviceKind, folder: Path) -> list[str]:
    """Names of the device nodes of these cards."""
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    return sorted(name for name in names if kind.nodes and re.fullmatch(kind.nodes, name))


def silent_nodes(folder: Path = Path("/dev")) -> list[str]:
    """One line for each kind of card of which fewer answer than there are device nodes."""
    found = []
    for kind in DEVICES.values():
        nodes = card_nodes(kind, folder)
        if visibility(kind) is None and (answering := present(kind.name)) < len(nodes):
            found.append(f"{answering} of {len(nodes)} {kind.name} answer ({', '.join(nodes)} in {folder})")
    return found
