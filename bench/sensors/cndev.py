"""One reading of every MLU, as libcndev tells: `python -m bench.sensors.cndev`."""

from __future__ import annotations

from bench.machine.sensors.cndev import read_cndev

if __name__ == "__main__":  # python -m bench.sensors.cndev
    cards = read_cndev()
    print("\n".join(map(str, cards)) if cards else "no libcndev here, or it names no card")
