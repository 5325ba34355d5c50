"""The devices that are here: `python -m bench.device`."""

from __future__ import annotations

if not __package__:  # `python bench/device.py`, from any folder: its own is on the path, and not the checkout
    __import__("sys").path.insert(0, __file__.rsplit("/", 2)[0])

import os
from dataclasses import dataclass

from bench.errors import run_cli
from bench.machine.discovery import best, inventory
from bench.options import Command
from bench.records.provenance import cpu_name


@dataclass
class DeviceOptions:
    """Print the devices that are here."""

    best: bool = False
    """Print only the name of the best one"""


COMMAND = Command("bench.device", DeviceOptions)


def main(argv: list[str] | None = None) -> None:
    if COMMAND.parse(argv).best:
        print(best())
        return
    for name, count in inventory().items():
        print(f"{name}: {count}" if name != "CPU" else f"CPU: {os.cpu_count()} cores, {cpu_name()}")


if __name__ == "__main__":
    run_cli(main, "bench.device")
