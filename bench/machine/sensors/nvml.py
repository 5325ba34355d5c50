"""The sensors of an NVIDIA card through NVML (nvidia-ml-py). What a card does not tell is None."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

# Bits of the clocks' event reasons that mean trouble; the other bits (idle, application clocks, display) do not.
POWER_CAP = 0x04
SLOWED = 0x08 | 0x20 | 0x40 | 0x80  # hardware slow-down, heat by software, heat by hardware, power brake


def open_nvml() -> Any:
    """nvidia-ml-py, initialised; None where it is not installed or there is no driver."""
    try:
        import pynvml

        pynvml.nvmlInit()
    except (ImportError, OSError):
        return None
    except pynvml.NVMLError:
        return None
    return pynvml


def why_no_nvml() -> str:
    """Why no NVIDIA card tells anything here."""
    try:
        import pynvml

        pynvml.nvmlInit()
    except ImportError:
        return "nvidia-ml-py is not installed: pip install nvidia-ml-py"
    except OSError as error:
        return f"NVML does not load: {error}"
    except pynvml.NVMLError as error:
        return f"NVML does not start: {error}"
    return "NVML knows no such card"


@dataclass
class Nvml:
    """One card. `nvml` is the module pynvml, or a fake of it."""

    nvml: Any
    handle: object
    name: str = "nvml"
    interval_s: float = 0.5

    @classmethod
    def open(cls, card: int | str, nvml: Any = None) -> Nvml | None:
        """By number in the driver's order (PCI), or by UUID."""
        nvml = nvml or open_nvml()
        if nvml is None:
            return None
        find = nvml.nvmlDeviceGetHandleByIndex if isinstance(card, int) else nvml.nvmlDeviceGetHandleByUUID
        try:
            return cls(nvml, find(card))
        except nvml.NVMLError:
            return None

    def ask(self, function: str, *arguments: object) -> Any:
        """What NVML's `function` says of this card; None where it is too old or the card cannot say."""
        try:
            return getattr(self.nvml, function)(self.handle, *arguments)
        except (AttributeError, self.nvml.NVMLError):
            return None

    def sample(self) -> dict[str, float | None]:
        reasons = self.reasons()
        rates, memory = self.ask("nvmlDeviceGetUtilizationRates"), self.ask("nvmlDeviceGetMemoryInfo")
        return {
            "power_w": scaled(self.ask("nvmlDeviceGetPowerUsage"), 1e-3),
            "energy_j": scaled(self.ask("nvmlDeviceGetTotalEnergyConsumption"), 1e-3),
            "temperature_c": self.ask("nvmlDeviceGetTemperature", 0),  # 0: of the GPU
            "clock_mhz": self.ask("nvmlDeviceGetClockInfo", 1),  # 1: of the multiprocessors
            "utilisation_percent": rates and rates.gpu,
            "memory_bytes": memory and memory.used,
            "throttled": None if reasons is None else bool(reasons & SLOWED),
            "power_capped": None if reasons is None else bool(reasons & POWER_CAP),
            "ecc_errors": self.ask("nvmlDeviceGetTotalEccErrors", 1, 0),  # uncorrected, since the driver was loaded
        }

    def reasons(self) -> int | None:
        """Why the clocks are what they are; the function was renamed in driver 535."""
        new: int | None = self.ask("nvmlDeviceGetCurrentClocksEventReasons")
        old: int | None = self.ask("nvmlDeviceGetCurrentClocksThrottleReasons") if new is None else None
        return old if new is None else new

    def facts(self) -> dict[str, Any]:
        """What does not change during a run."""
        ecc, mig = self.ask("nvmlDeviceGetEccMode"), self.ask("nvmlDeviceGetMigMode")
        return {
            "name": decode_text(self.ask("nvmlDeviceGetName")),
            "uuid": decode_text(self.ask("nvmlDeviceGetUUID")),
            "driver": decode_text(self.nvml.nvmlSystemGetDriverVersion()),
            "power_limit_w": scaled(self.ask("nvmlDeviceGetPowerManagementLimit"), 1e-3),
            "power_limit_default_w": scaled(self.ask("nvmlDeviceGetPowerManagementDefaultLimit"), 1e-3),
            "clock_maximum_mhz": self.ask("nvmlDeviceGetMaxClockInfo", 1),
            "ecc": bool(ecc[0]) if ecc else None,
            "mig": bool(mig[0]) if mig else None,
            "link_width": self.ask("nvmlDeviceGetCurrPcieLinkWidth"),
            "link_width_maximum": self.ask("nvmlDeviceGetMaxPcieLinkWidth"),
        }

    def users(self) -> list[int] | None:
        """Process ids of all that compute on this card; inside a container others may not be seen."""
        running = self.ask("nvmlDeviceGetComputeRunningProcesses")
        return None if running is None else [process.pid for process in running]


def scaled(value: float | None, factor: float) -> float | None:
    return None if value is None else value * factor


def decode_text(value: str | bytes | None) -> str | None:
    """Older bindings give bytes."""
    return value.decode() if isinstance(value, bytes) else value
