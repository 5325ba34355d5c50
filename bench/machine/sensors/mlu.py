"""The sensors of an MLU: libcndev by ctypes (cndev.py), else the vendor's `cnmon` (cnmon.py)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bench.machine.sensors import cnmon
from bench.machine.sensors.cndev import Cndev
from bench.machine.sensors.cnmon import CardStatus

MIB = 1 << 20


def status_quantities(reading: CardStatus) -> dict[str, float | None]:
    used = reading.memory_used_mib
    return {
        "power_w": reading.power_w,
        "temperature_c": reading.temperature_c,
        "utilisation_percent": reading.utilisation_percent,
        "memory_bytes": None if used is None else used * MIB,
    }


@dataclass
class MluSensor:
    """Card `card` of what `read` returns."""

    read: Callable[[], CardStatus | None]
    name: str
    interval_s: float

    def sample(self) -> dict[str, float | None] | None:
        reading = self.read()
        return None if reading is None else status_quantities(reading)

    def facts(self) -> dict[str, Any]:
        reading = self.read()
        return {} if reading is None else {"name": reading.name, "driver": reading.driver}

    def users(self) -> list[int] | None:
        """Neither source lists processes; bench.machine.preflight looks at memory and use instead."""
        return None


class Mlu(MluSensor):
    """Through libcndev, in microseconds: no subprocess."""

    @classmethod
    def open(cls, card: int | str, cndev: Cndev | None = None) -> Mlu | None:
        cndev = cndev or Cndev.open()
        if cndev is None or not isinstance(card, int) or card >= len(cndev.read()):
            return None
        return cls(lambda: cndev.card(card), "cndev", 0.5)


class Cnmon(MluSensor):
    """Through the vendor's program, a process a sample: at 1 Hz."""

    @classmethod
    def open(cls, card: int | str, read: Callable[[], list[CardStatus] | None] = cnmon.read_cnmon) -> Cnmon | None:
        def one() -> CardStatus | None:
            return next((reading for reading in read() or [] if reading.card == card), None)

        return cls(one, "cnmon", 1.0) if one() else None
