"""The best times of a fixed piece of work, milliseconds, as JSON: `python -m bench.canary CPU`."""

from __future__ import annotations

import argparse
import json

from bench.errors import run_cli
from bench.machine.canary import canary_ms
from bench.machine.device import Device
from bench.machine.discovery import DEVICES, best


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="bench.canary",
        description="Time a fixed piece of work on a device: compare.sh does so before and after its runs.",
        epilog="example: python -m bench.canary CPU",
    )
    parser.add_argument("device", choices=[*DEVICES, "best"], help="best: what a run takes that names no device")
    device = parser.parse_args(argv).device
    print(json.dumps(canary_ms(Device.open(best() if device == "best" else device))))


if __name__ == "__main__":
    run_cli(main, "bench.canary")
