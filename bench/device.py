"""The devices that are here: `python -m bench.device`."""

from __future__ import annotations

import os

from bench.errors import parse_no_options
from bench.machine.discovery import best, inventory
from bench.records.provenance import cpu_name


def main() -> None:
    if parse_no_options("bench.device", __doc__, ("--best", "print only the name of the best device here")).best:
        print(best())
        return
    for name, count in inventory().items():
        print(f"{name}: {count}" if name != "CPU" else f"CPU: {os.cpu_count()} cores, {cpu_name()}")


if __name__ == "__main__":
    main()
