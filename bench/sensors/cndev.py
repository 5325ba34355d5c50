"""One reading of every MLU, as libcndev tells: `python -m bench.sensors.cndev`."""

from __future__ import annotations

import sys

from bench.machine.sensors.cndev import read_cndev

if __name__ == "__main__":  # python -m bench.sensors.cndev
    cards = read_cndev()
    if not cards:
        sys.exit("no libcndev here ($NEUWARE_HOME/lib64, LD_LIBRARY_PATH), or it names no card")
    print("\n".join(map(str, cards)))
