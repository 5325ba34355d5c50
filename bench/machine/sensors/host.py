"""The sensors of a host: energy by RAPL where it is readable, use and memory by psutil.

RAPL (Linux powercap) counts the packages' energy. Since CVE-2020-8694 only root may read it on most systems; without it
a host has no power, and a record says null.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

SYSTEM = Path("/sys")


def read_number(path: Path) -> float | None:
    try:
        return float(path.read_text())
    except (OSError, ValueError):
        return None


@dataclass
class Package:
    """One RAPL counter in micro-joules. It wraps around; the sum of its steps does not."""

    path: Path
    range_uj: float
    last_uj: float
    total_uj: float = 0.0

    @classmethod
    def all(cls, system: Path) -> list[Package]:
        """The packages that may be read: `intel-rapl:0`, not its parts `intel-rapl:0:0`. AMD's have the same names."""
        found = []
        for folder in sorted(system.glob("class/powercap/intel-rapl:*")):
            now, most = read_number(folder / "energy_uj"), read_number(folder / "max_energy_range_uj")
            if folder.name.count(":") == 1 and now is not None and most:
                found.append(cls(folder / "energy_uj", most, now))
        return found

    def joules(self) -> float:
        now = read_number(self.path)
        if now is not None:
            self.total_uj += (now - self.last_uj) % self.range_uj
            self.last_uj = now
        return self.total_uj / 1e6


@dataclass
class HostSensor:
    """`card` is of no matter: a host has one of each."""

    system: Path = SYSTEM
    name: str = "host"
    interval_s: float = 0.5
    packages: list[Package] = field(default_factory=list)
    throttles: float | None = None

    @classmethod
    def open(cls, _card: int | str = 0, system: Path = SYSTEM) -> HostSensor:
        psutil.cpu_percent()  # counts from the call before it
        return cls(system, packages=Package.all(system))

    def sample(self) -> dict[str, float | None]:
        clock_khz = read_number(self.system / "devices/system/cpu/cpu0/cpufreq/scaling_cur_freq")
        return {
            "energy_j": sum(package.joules() for package in self.packages) if self.packages else None,
            "temperature_c": self.temperature(),
            "clock_mhz": None if clock_khz is None else clock_khz / 1e3,
            "utilisation_percent": psutil.cpu_percent(),
            "memory_bytes": psutil.virtual_memory().used,
            "throttled": self.throttled(),
        }

    def temperature(self) -> float | None:
        """Of the hottest thermal zone that is a processor's."""
        zones = self.system.glob("class/thermal/thermal_zone*")
        found = [read_number(zone / "temp") for zone in zones if (zone / "type").read_text().strip() == "x86_pkg_temp"]
        return max((value / 1e3 for value in found if value is not None), default=None)

    def throttled(self) -> bool | None:
        """Whether the package was slowed for heat since the last question."""
        before = self.throttles
        self.throttles = read_number(self.system / "devices/system/cpu/cpu0/thermal_throttle/package_throttle_count")
        return None if before is None or self.throttles is None else self.throttles > before

    def facts(self) -> dict[str, Any]:
        return {"energy_counters": [package.path.parent.name for package in self.packages]}

    def users(self) -> list[int] | None:
        """A host is always shared; bench.machine.preflight looks at its load instead."""
        return None
