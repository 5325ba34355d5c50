"""The devices a run may use, as rows of a table, and what a run asks of one. Vendor names appear in this file only.

`torch_mlu` registers `torch.mlu` with the functions of `torch.cuda`, so one code path serves both; the CPU differs only
in what its row says. Facts about Cambricon's backend: Cambricon/torch_mlu r2.4 (see docs/mlu.md).
"""

from __future__ import annotations

import importlib
import os
import platform
import resource
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial, reduce

import torch

from bench.errors import UserError
from bench.machine import discovery, fallbacks
from bench.records.provenance import cpu_name
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
        ),
        DeviceKind("CPU", "cpu", "gloo", torch.bfloat16, scaled=False),
    )
}


def present(name: str) -> int:
    """How many cards of this kind are here. A process count is not limited by the machine, so CPU answers 1."""
    return discovery.count(DEVICES[name])[0]


def inventory() -> dict[str, int]:
    return {name: present(name) for name in ORDER}


def best() -> str:
    """The best device present: MLU, then GPU, then CPU."""
    return next(name for name in ORDER if present(name))


def overlooked() -> list[str]:
    """A sentence for each vendor whose library is installed here and shows no card: a run would pass it over."""
    found = {
        name: discovery.count(kind) for name, kind in DEVICES.items() if kind.extension and discovery.installed(kind)
    }
    return [f"no {name} is used: {why}" for name, (cards, why) in found.items() if not cards]


def require(name: str, cards: int, hint: str = "") -> None:
    """Refuse, saying what was found and why not more, when `cards` devices of this kind are not here."""
    found = inventory()
    if name == "CPU" or found[name] >= cards:
        return
    here = ", ".join(f"{count} {kind}" for kind, count in found.items() if kind != "CPU")
    why = discovery.count(DEVICES[name])[1]
    said = (f"{cards} {name} asked for; found {here} and {os.cpu_count()} CPU cores", why, hint)
    raise UserError(". ".join(filter(None, said)))


def switch(path: str):
    """(object, attribute) of a switch such as `backends.cudnn.allow_tf32`, or None where this torch lacks it."""
    *parents, leaf = path.split(".")
    owner = reduce(lambda found, part: getattr(found, part, None), parents, torch)
    return (owner, leaf) if owner is not None and hasattr(owner, leaf) else None


@dataclass
class Device:
    """One open device at one precision: where tensors live, when work is done, what was really switched on."""

    kind: DeviceKind
    precision: str
    index: int = 0
    switches: dict[str, object] = field(default_factory=dict)  # evidence for the record
    fallbacks: list[str] = field(default_factory=list)  # operators that ran on the host; grows during the run

    @classmethod
    def open(cls, name: str, precision: str = "FP32", index: int = 0) -> Device:
        """Select card `index` and set the precision switches. Raises UserError when the card cannot do it."""
        kind = DEVICES[name]
        require(name, index + 1)
        device = cls(kind, precision, index)
        if kind.type != "cpu":
            device.take()
            fallbacks.watch(device.fallbacks)
        device.check_precision()
        device.set_switches()
        return device

    def take(self) -> None:
        """Select the card and use it once: a driver that does not answer and a card that is held say so only then."""
        try:
            self.module.set_device(self.index)
            torch.ones(1, device=self.torch).tolist()
        except RuntimeError as error:
            chosen = discovery.visibility(self.kind)
            where = f" of {chosen[0]}={chosen[1]}" if chosen else ""
            raise UserError(
                f"{self.kind.name} {self.index}{where} cannot be used ({discovery.first_line(error)});"
                f" {self.kind.monitor} shows the driver and who holds the card"
            ) from None

    @property
    def module(self):
        return getattr(torch, self.kind.type)

    @property
    def torch(self) -> torch.device:
        return torch.device(self.kind.type, self.index) if self.kind.type != "cpu" else torch.device("cpu")

    def check_precision(self) -> None:
        wants_bf16 = self.compute_dtype is torch.bfloat16 and self.kind.type != "cpu"
        if wants_bf16 and not self.module.is_bf16_supported():
            raise UserError(f"{self.card_name()} has no bfloat16; use FP32 or AMP (float16 with loss scaling)")
        if self.precision == "TF32" and not self.kind.tf32:
            raise UserError(f"TF32 is a mode of GPU and MLU; on {self.kind.name} use FP32, AMP or BF16")

    def set_switches(self) -> None:
        """Set every TF32 switch, because defaults differ by vendor, and keep what was read back."""
        for path in self.kind.tf32:
            if found := switch(path):
                setattr(*found, self.precision == "TF32")
                self.switches[path] = getattr(*found)
        torch.set_float32_matmul_precision("high" if self.precision == "TF32" else "highest")
        self.switches["float32_matmul_precision"] = torch.get_float32_matmul_precision()
        computes = {"autocast_dtype": self.compute_dtype, "recurrent_dtype": self.recurrent_dtype or self.compute_dtype}
        for name, dtype in computes.items():
            self.switches[name] = str(dtype or torch.float32).removeprefix("torch.")

    @property
    def compute_dtype(self) -> torch.dtype | None:
        """What autocast computes in; None where autocast is off."""
        return {"AMP": self.kind.amp, "BF16": torch.bfloat16}.get(self.precision)

    @property
    def recurrent_dtype(self) -> torch.dtype | None:
        """What recurrent layers compute in where autocast must not decide: on MLU a bfloat16 LSTM falls back to single
        steps, so it runs in float32 (torch_mlu r2.4, rnn.cpp)."""
        return torch.float32 if self.kind.type == "mlu" and self.compute_dtype is torch.bfloat16 else None

    def autocast(self):
        if self.compute_dtype is None:
            return nullcontext()
        return torch.autocast(self.kind.type, dtype=self.compute_dtype)

    def gradient_scaler(self):
        """A loss scaler, switched off where the precision needs none. torch before 2.3 has only the vendor's class."""
        enabled = self.kind.scaled and self.compute_dtype is torch.float16
        if hasattr(torch.amp, "GradScaler"):
            return torch.amp.GradScaler(self.kind.type, enabled=enabled)
        return (self.module if enabled else torch.cuda).amp.GradScaler(enabled=enabled)

    def synchronize(self) -> None:
        """Wait until everything queued has run; a clock read before this lies."""
        if self.kind.type != "cpu":
            self.module.synchronize()

    def event_maker(self) -> Callable[[], object] | None:
        """Makes events that time on the device's own clock; None where it has none."""
        event = None if self.kind.type == "cpu" else getattr(self.module, "Event", None)
        return event and partial(event, enable_timing=True)

    def identity(self) -> str | None:
        """The card's UUID as its driver spells it, where torch tells (2.4 and later)."""
        uuid = (
            None if self.kind.type != "cuda" else getattr(self.module.get_device_properties(self.index), "uuid", None)
        )
        return uuid and f"GPU-{uuid}"

    def peak_memory_bytes(self) -> int:
        """Peak of the allocator on a card; peak resident set of the process on a CPU."""
        if self.kind.type != "cpu":
            return int(self.module.max_memory_allocated())
        unit = 1 if platform.system() == "Darwin" else 1024  # getrusage: KiB on Linux, bytes on macOS
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit

    def card_name(self) -> str:
        return cpu_name() if self.kind.type == "cpu" else self.module.get_device_name(self.index)

    def rng_state(self) -> torch.Tensor | None:
        return None if self.kind.type == "cpu" else self.module.get_rng_state()

    def set_rng_state(self, state: torch.Tensor | None) -> None:
        if state is not None and self.kind.type != "cpu":
            self.module.set_rng_state(state)

    def versions(self) -> dict[str, str | None]:
        """Backend and driver libraries this device runs on, as far as they tell."""
        extension = self.kind.extension and importlib.import_module(self.kind.extension)
        return {
            self.kind.extension or "cuda": getattr(extension, "__version__", None) if extension else torch.version.cuda,
            "cudnn": str(torch.backends.cudnn.version()) if self.kind.type == "cuda" else None,
        }
