"""One reading of every MLU, as `cnmon` tells: `python -m bench.sensors.cnmon`."""

from __future__ import annotations

from bench.machine.sensors.cnmon import read

if __name__ == "__main__":  # python -m bench.sensors.cnmon
    print(*(read() or ["no cnmon here, or it names no card"]), sep="\n")
