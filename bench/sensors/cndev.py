"""One reading of every MLU, as libcndev tells: `python -m bench.sensors.cndev`."""

from __future__ import annotations

from bench.machine.sensors.cndev import read

if __name__ == "__main__":  # python -m bench.sensors.cndev
    print(*(read() or ["no libcndev here, or it names no card"]), sep="\n")
