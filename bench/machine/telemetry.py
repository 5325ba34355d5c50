"""Sample a card's sensors in a thread, from the start of a run to its end: power, heat, clocks, use, signs of trouble.

SENSORS says which sensors are tried for a device; bench/records/telemetry_summary.py makes numbers of samples.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from bench.machine.sensors.host import HostSensor
from bench.machine.sensors.mlu import Cnmon, Mlu
from bench.machine.sensors.nvml import Nvml, why_no_nvml
from bench.records.packing import ticks
from bench.records.sections import Samples


class Sensor(Protocol):
    """The sensors of one card."""

    name: str
    interval_s: float

    def sample(self) -> Mapping[str, float | None] | None:
        """Quantities by name; None when the sensor did not answer."""

    def facts(self) -> dict[str, Any]:
        """What does not change during a run."""

    def users(self) -> list[int] | None:
        """Process ids on the card; None where it does not tell."""


# Ways to reach the sensors of a device, the best first. Each opens one card, or gives None where it cannot.
SENSORS: dict[str, tuple[Callable[[int | str], Sensor | None], ...]] = {
    "MLU": (Mlu.open, Cnmon.open),
    "GPU": (Nvml.open,),
    "CPU": (HostSensor.open,),
}
QUANTITIES = (
    "power_w",
    "energy_j",
    "temperature_c",
    "clock_mhz",
    "utilisation_percent",
    "memory_bytes",
    "throttled",
    "power_capped",
    "ecc_errors",
)
NAN = float("nan")


def open_sensor(device: str, card: int | str) -> Sensor | None:
    """The sensors of a card, by number in the driver's order or by UUID; None where none answers."""
    return next((sensor for way in SENSORS[device] if (sensor := way(card))), None)


def why_no_sensor(device: str) -> str:
    """For the record of a run whose card told nothing."""
    return f"no sensor of this card answers{': ' + why_no_nvml() if device == 'GPU' else ''}"


def physical_card(index: int, visible: str | None) -> int | str:
    """The driver's own name of the card that torch calls `index`: a number, or a UUID where the variable has them."""
    if not visible:
        return index
    names = [name.strip() for name in visible.split(",")]
    name = names[index] if index < len(names) else str(index)
    return int(name) if name.isdecimal() else name


@dataclass
class Sampler:
    """`start()` it, `stop()` it; then `sampled(...)` is an item of a record's `samples`."""

    sensor: Sensor | None
    clock: Callable[[], float] = time.perf_counter
    why_none: str = "no sensor of this card answers"
    time_s: list[float] = field(default_factory=list)
    values: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in QUANTITIES})
    _stop: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> Sampler:
        if self.sensor is not None:
            self._thread = threading.Thread(target=self._run, args=(self.sensor,), name="telemetry", daemon=True)
            self._thread.start()
        return self

    def stop(self) -> None:
        """Take a last sample, so that the end of the run is covered."""
        if self._thread is not None and self.sensor is not None:
            self._stop.set()
            self._thread.join()
            self._thread = None
            self.take(self.sensor)

    def _run(self, sensor: Sensor) -> None:
        """A sample each interval, counted from the first: reading takes time, and must not stretch the next wait."""
        began = self.clock()
        self.take(sensor)
        while True:
            late = (self.clock() - began) % sensor.interval_s
            if self._stop.wait(sensor.interval_s - late):
                return
            self.take(sensor)

    def take(self, sensor: Sensor) -> None:
        found = sensor.sample()
        if found is None:  # a gap, which bench/records/telemetry_summary.py will see
            return
        self.time_s.append(self.clock())
        for name, values in self.values.items():
            value = found.get(name)
            values.append(NAN if value is None else float(value))

    def sampled(self, rank: int, windows: list[list[float]], origin_s: float) -> Samples:
        """The samples, their times counted from `origin_s`. Quantities that the card never told are absent."""
        known = {name: values for name, values in self.values.items() if any(value == value for value in values)}
        return {
            "rank": rank,
            "sensor": getattr(self.sensor, "name", None),
            "interval_s": getattr(self.sensor, "interval_s", 0.0),
            "windows": [ticks([time - origin_s for time in window]) for window in windows if len(window) == 2],
            "time_s": ticks([time - origin_s for time in self.time_s]),
            **known,  # type: ignore[typeddict-item]  # QUANTITIES are fields of Samples
            "reasons": [] if self.sensor else [self.why_none],
        }
