"""One open device at one precision: what a run asks of a card. bench/machine/discovery.py has the table of kinds."""

from __future__ import annotations

import importlib
import platform
import re
import resource
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch import amp as torch_amp
from torch import dtype as DataType  # inside Device, `torch` is a property
from torch.utils._python_dispatch import TorchDispatchMode

from bench.errors import UserError
from bench.machine import discovery, fallbacks
from bench.machine.discovery import DEVICES, DeviceKind
from bench.records.provenance import cpu_name


def find_switch(path: str) -> tuple[object, str] | None:
    """(object, attribute) of a switch such as `backends.cudnn.allow_tf32`, or None where this torch lacks it."""
    *parents, leaf = path.split(".")
    owner: object = torch
    for part in parents:
        owner = getattr(owner, part, None)
    return (owner, leaf) if hasattr(owner, leaf) else None


class RecurrentCalls(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch has no annotations
    """Notes which kernels compute recurrent layers on a GPU, cuDNN's or torch's own step by step, and their types."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seen: dict[str, set[DataType]] = {}

    def __torch_dispatch__(self, function: Any, types: Any, arguments: Any = (), keywords: Any = None) -> Any:
        name = str(function).removeprefix("aten.").partition(".")[0]
        if re.match("_cudnn_rnn|_thnn_fused_(lstm|gru)_cell", name) and isinstance(arguments[0], Tensor):
            self.seen.setdefault(name, set()).add(arguments[0].dtype)
        return function(*arguments, **(keywords or {}))

    @property
    def dtypes(self) -> set[DataType]:
        return set().union(*self.seen.values())


def recurrent_kernels(device: torch.device, dtype: DataType) -> dict[str, set[DataType]] | None:
    """What computes an LSTM of this type here; None where torch refuses it.

    Asked of the libraries themselves: torch 2.11 goes step by step in bfloat16, cuDNN 9.19 or not, and
    torch 2.1 and 2.2 have no step in it, either.
    """
    layer = nn.LSTM(8, 8, bidirectional=True).to(device, dtype)
    with RecurrentCalls() as calls:
        try:
            layer(torch.ones(2, 1, 8, device=device, dtype=dtype))[0].sum().backward()
        except RuntimeError:
            return None
    seen: dict[str, set[DataType]] = calls.seen
    return seen


@dataclass
class Device:
    """One open device at one precision: where tensors live, when work is done, what was really switched on."""

    kind: DeviceKind
    precision: str
    index: int = 0
    has_bf16_cells: bool = False  # recurrent layers that are cast to bfloat16 run here
    switches: dict[str, object] = field(default_factory=dict)  # evidence for the record
    fallbacks: list[str] = field(default_factory=list)  # operators that ran on the host; grows during the run

    @classmethod
    def open(cls, name: str, precision: str = "FP32", index: int = 0) -> Device:
        """Select card `index` and set the precision switches. Raises UserError when the card cannot do it."""
        kind = DEVICES[name]
        discovery.require(name, index + 1)
        device = cls(kind, precision, index)
        if kind.is_card:
            device.take()
            fallbacks.record_fallbacks(device.fallbacks)
        device.check_precision()
        if kind.bf16_recurrent == "cast" and device.compute_dtype is torch.bfloat16:
            device.find_bf16_cells()
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
    def module(self) -> Any:
        """torch.cuda or torch.mlu."""
        return getattr(torch, self.kind.type)

    @property
    def torch(self) -> torch.device:
        return torch.device(self.kind.type, self.index) if self.kind.is_card else torch.device("cpu")

    def check_precision(self) -> None:
        wants_bf16 = self.compute_dtype is torch.bfloat16 and self.kind.is_card
        if wants_bf16 and not self.has_bf16():
            raise UserError(f"{self.card_name()} has no bfloat16; use FP32 or AMP (float16 with loss scaling)")
        if self.precision == "TF32" and not self.kind.tf32:
            raise UserError(f"TF32 is a mode of GPU and MLU; on {self.kind.name} use FP32, AMP or BF16")

    def has_bf16(self) -> bool:
        """In hardware: torch says True of cards that emulate it, such as V100 and T4, unless asked otherwise."""
        supported = self.module.is_bf16_supported
        try:
            return bool(supported(including_emulation=False))
        except TypeError:  # torch before 2.4, and torch_mlu, which emulate nothing
            return bool(supported())

    def find_bf16_cells(self) -> None:
        """Whether recurrent layers run in bfloat16, and by what."""
        kernels = recurrent_kernels(self.torch, torch.bfloat16)
        self.has_bf16_cells = kernels is not None
        self.switches["bfloat16_recurrent_kernels"] = sorted(kernels or {}) or None

    def set_switches(self) -> None:
        """Set every TF32 switch, because defaults differ by vendor, and keep what was read back."""
        for path in self.kind.tf32:
            if found := find_switch(path):
                owner, leaf = found
                setattr(owner, leaf, self.precision == "TF32")
                self.switches[path] = getattr(owner, leaf)
        torch.set_float32_matmul_precision("high" if self.precision == "TF32" else "highest")
        self.switches["float32_matmul_precision"] = torch.get_float32_matmul_precision()
        computes = {"autocast_dtype": self.compute_dtype, "recurrent_dtype": self.recurrent_dtype or self.compute_dtype}
        for name, dtype in computes.items():
            self.switches[name] = str(dtype or torch.float32).removeprefix("torch.")

    @property
    def compute_dtype(self) -> DataType | None:
        """What autocast computes in; None where autocast is off."""
        return {"AMP": self.kind.amp, "BF16": torch.bfloat16}.get(self.precision)

    @property
    def recurrent_dtype(self) -> DataType | None:
        """What recurrent layers compute in where autocast must not decide; None where it may."""
        if self.compute_dtype is not torch.bfloat16 or self.kind.bf16_recurrent == "autocast":
            return None
        return torch.bfloat16 if self.has_bf16_cells else torch.float32

    def autocast(self) -> AbstractContextManager[object]:
        """The context in which the network computes at this precision."""
        if self.compute_dtype is None:
            return nullcontext()
        return torch.autocast(self.kind.type, dtype=self.compute_dtype)

    def gradient_scaler(self) -> torch_amp.GradScaler:
        """A loss scaler, switched off where the precision needs none. torch before 2.3 has only the vendor's class."""
        enabled = self.kind.scaled and self.compute_dtype is torch.float16
        if hasattr(torch.amp, "GradScaler"):
            return torch.amp.GradScaler(self.kind.type, enabled=enabled)
        scaler: torch_amp.GradScaler = (self.module if enabled else torch.cuda).amp.GradScaler(enabled=enabled)
        return scaler

    def synchronize(self) -> None:
        """Wait until everything queued has run; a clock read before this lies."""
        if self.kind.is_card:
            self.module.synchronize()

    def event_maker(self) -> Callable[[], Any] | None:
        """Makes events that time on the device's own clock; None where it has none."""
        event = getattr(self.module, "Event", None) if self.kind.is_card else None
        return event and partial(event, enable_timing=True)

    def identity(self) -> str | None:
        """The card's UUID as its driver spells it, where torch tells (2.4 and later)."""
        if not self.kind.uuid_prefix:
            return None
        uuid = getattr(self.module.get_device_properties(self.index), "uuid", None)
        return uuid and f"{self.kind.uuid_prefix}{uuid}"

    def peak_memory_bytes(self) -> int:
        """Peak of the allocator on a card; peak resident set of the process on a CPU."""
        if self.kind.is_card:
            return int(self.module.max_memory_allocated())
        unit = 1 if platform.system() == "Darwin" else 1024  # getrusage: KiB on Linux, bytes on macOS
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit

    def card_name(self) -> str:
        return str(self.module.get_device_name(self.index)) if self.kind.is_card else cpu_name()

    def rng_state(self) -> Tensor | None:
        return self.module.get_rng_state() if self.kind.is_card else None

    def set_rng_state(self, state: Tensor | None) -> None:
        if state is not None and self.kind.is_card:
            self.module.set_rng_state(state)

    def versions(self) -> dict[str, str | None]:
        """Backend and driver libraries this device runs on, as far as they tell."""
        cudnn: Any = torch.backends.cudnn
        extension = self.kind.extension and importlib.import_module(self.kind.extension)
        return {
            self.kind.extension or "cuda": getattr(extension, "__version__", None) if extension else torch.version.cuda,
            "cudnn": str(cudnn.version()) if self.kind.has_cudnn else None,
            **({"nccl": nccl_version()} if self.kind.backend == "nccl" else {}),
        }


def nccl_version() -> str | None:
    """Of the library that this torch was built with; torch 2.1 tells it as a tuple, as all others do."""
    try:
        version: tuple[int, ...] = torch.cuda.nccl.version()  # type: ignore[no-untyped-call]
        return ".".join(map(str, version))
    except (AttributeError, RuntimeError, ImportError):
        return None
