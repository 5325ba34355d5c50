"""Read MLUs through the driver's own library, libcndev, by ctypes: no subprocess and no text to parse.

Structures follow cndev.h as published with Cambricon/mlu-exporter: commit 137fbd6 for drivers of MLU370's time (API
version 5), 934abae for later ones (version 6). A later call is tried first, and an earlier one where the library does
not export it. Each structure has room to spare behind its fields, so that a newer library which writes more cannot
write past it.
"""

from __future__ import annotations

import ctypes
import os
from ctypes import c_char_p, c_int32, c_int64, c_uint16, c_uint32, c_uint64
from dataclasses import dataclass
from typing import Any

from bench.machine.sensors.cnmon import CardStatus

VERSIONS = (6, 5)  # of the API, newest first; a library refuses one it does not know
LIBRARIES = ("libcndev.so", "{neuware}/lib64/libcndev.so", "{neuware}/lib/libcndev.so")
_ROOM = ("room", ctypes.c_byte * 512)


class CardCount(ctypes.Structure):
    _fields_ = (("version", c_int32), ("number", c_uint32), _ROOM)


class VersionInfo(ctypes.Structure):
    _fields_ = (
        ("version", c_int32), ("mcu", c_uint32 * 3), ("driver", c_uint32 * 3), _ROOM,
    )  # fmt: skip


class MemoryV2(ctypes.Structure):
    """cndevMemoryInfoV2_t: MiB, though the header says MB; cnmon prints the same numbers as MiB."""

    _fields_ = (
        ("total", c_int64), ("used", c_int64), ("reserved", c_int64), ("virtual_total", c_int64),
        ("virtual_used", c_int64), ("global_", c_uint64), ("unused", c_uint64 * 16), _ROOM,
    )  # fmt: skip


class MemoryV1(ctypes.Structure):
    """cndevMemoryInfo_t of API version 5."""

    _fields_ = (
        ("version", c_int32), ("total", c_int64), ("used", c_int64), ("virtual_total", c_int64),
        ("virtual_used", c_int64), ("channels", c_int64), ("channel_used", c_int64 * 20), _ROOM,
    )  # fmt: skip


class PowerV2(ctypes.Structure):
    """cndevDevicePowerInfo_t: watts."""

    _fields_ = (
        ("usage", c_int32), ("cap", c_int32), ("machine", c_int32), ("tdp", c_int32), ("maximum", c_int32), _ROOM,
    )  # fmt: skip


class PowerV1(ctypes.Structure):
    """cndevPowerInfo_t of API version 5: watts; its decimals are left alone, as the vendor's exporter leaves them."""

    _fields_ = (
        ("version", c_int32), ("usage", c_int32), ("cap", c_int32), ("usage_decimal", c_int32),
        ("machine", c_int32), ("cap_decimal", c_int32), ("tdp", c_uint16), _ROOM,
    )  # fmt: skip


class Temperature(ctypes.Structure):
    """cndevTemperatureInfo_t: degrees Celsius; the same up to `chip` in both versions."""

    _fields_ = (
        ("version", c_int32), ("board", c_int32), ("cluster", c_int32 * 20), ("memory_die", c_int32 * 8),
        ("chip", c_int32), _ROOM,
    )  # fmt: skip


class Utilisation(ctypes.Structure):
    """cndevUtilizationInfo_t: percent."""

    _fields_ = (("version", c_int32), ("average", c_int32), ("core", c_int32 * 80), _ROOM)


# Quantity -> (function, structure), the newer first.
CALLS = {
    "driver": (("cndevGetVersionInfo", VersionInfo),),
    "memory": (("cndevGetMemoryUsageV2", MemoryV2), ("cndevGetMemoryUsage", MemoryV1)),
    "power": (("cndevGetDevicePowerInfo", PowerV2), ("cndevGetPowerInfo", PowerV1)),
    "temperature": (("cndevGetTemperatureInfo", Temperature),),
    "utilisation": (("cndevGetDeviceUtilizationInfo", Utilisation),),
}
NAMES = ("cndevGetCardNameStringByDevId", "getCardNameStringByDevId")


def load_library() -> ctypes.CDLL | None:
    """libcndev from the loader's path or the Neuware folder, or None where there is none that loads."""
    neuware = os.environ.get("NEUWARE_HOME", "/usr/local/neuware")
    for place in LIBRARIES:
        try:
            return ctypes.CDLL(place.format(neuware=neuware))
        except OSError:
            continue
    return None


@dataclass
class Cndev:
    """An initialised libcndev. `open` makes one; `read` may be called as often as power is sampled."""

    library: Any  # ctypes.CDLL, or a fake of it

    @classmethod
    def open(cls, library: Any = None) -> Cndev | None:
        """`library` (default: the one installed), initialised; None where there is none or the driver is silent."""
        library = library or load_library()
        initialise = getattr(library, "cndevInit", None)
        return cls(library) if initialise and initialise(c_int32(0)) == 0 else None

    def close(self) -> None:
        if release := getattr(self.library, "cndevRelease", None):
            release()

    def read(self) -> list[CardStatus]:
        """Every card the driver counts, in its order."""
        count = self._filled("cndevGetDeviceCount", CardCount)
        return [self.card(index) for index in range(count.number if count else 0)]

    def card(self, index: int) -> CardStatus:
        """Card `index`; a quantity this driver does not tell is None."""
        handle = self._handle(index)
        found = {quantity: self._asked(quantity, handle) for quantity in CALLS}

        def of(quantity: str, field: str) -> Any:
            return getattr(found[quantity], field, None)

        driver = of("driver", "driver")
        return CardStatus(
            card=index,
            name=self._name(handle),
            driver=".".join(map(str, driver)) if driver else None,
            power_w=of("power", "usage"),
            temperature_c=of("temperature", "chip"),
            utilisation_percent=of("utilisation", "average"),
            memory_used_mib=of("memory", "used"),
            memory_total_mib=of("memory", "total"),
        )

    def _handle(self, index: int) -> c_int32:
        """The driver's handle of card `index`; before API version 6 that is the index itself."""
        handle = c_int32(index)
        if by_index := getattr(self.library, "cndevGetDeviceHandleByIndex", None):
            by_index(c_int32(index), ctypes.byref(handle))
        return handle

    def _name(self, handle: c_int32) -> str | None:
        for symbol in NAMES:
            if function := getattr(self.library, symbol, None):
                function.restype = c_char_p
                name = function(handle)
                return name.decode(errors="replace") if name else None
        return None

    def _asked(self, quantity: str, handle: c_int32) -> ctypes.Structure | None:
        answers = (self._filled(function, structure, handle) for function, structure in CALLS[quantity])
        return next((answer for answer in answers if answer), None)

    def _filled(self, symbol: str, structure: type[ctypes.Structure], *arguments: object) -> ctypes.Structure | None:
        """`structure` as the library filled it in, or None where the call is not there or fails."""
        function = getattr(self.library, symbol, None)
        if function is None:
            return None
        for version in VERSIONS:
            answer = structure(version=version) if hasattr(structure, "version") else structure()
            if function(ctypes.byref(answer), *arguments) == 0:
                return answer
        return None


def read_cndev() -> list[CardStatus] | None:
    """Every card once, or None where there is no library, no driver or no card."""
    cndev = Cndev.open()
    if cndev is None:
        return None
    try:
        return cndev.read() or None
    finally:
        cndev.close()
