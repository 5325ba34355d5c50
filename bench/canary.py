"""The best times of a fixed piece of work, milliseconds, as JSON: `python -m bench.canary CPU`."""

from __future__ import annotations

if not __package__:  # `python bench/canary.py`, from any folder: its own is on the path, and not the checkout
    __import__("sys").path.insert(0, __file__.rsplit("/", 2)[0])

import json
from dataclasses import dataclass
from typing import Annotated, Literal

from bench.errors import run_cli
from bench.machine.canary import canary_ms
from bench.machine.device import Device
from bench.machine.discovery import best
from bench.options import Command, Positional


@dataclass
class CanaryOptions:
    """Time a fixed piece of work on a device: compare.sh does so before and after its runs."""

    device: Annotated[Literal["MLU", "GPU", "CPU", "best"], Positional("DEVICE")]
    """MLU, GPU, CPU, or best: what a run takes that names no device"""


COMMAND = Command("bench.canary", CanaryOptions, "CPU")


def main(argv: list[str] | None = None) -> None:
    device = COMMAND.parse(argv).device
    print(json.dumps(canary_ms(Device.open(best() if device == "best" else device))))


if __name__ == "__main__":
    run_cli(main, "bench.canary")
