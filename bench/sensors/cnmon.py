"""One reading of every MLU, as `cnmon` tells: `python -m bench.sensors.cnmon`."""

from __future__ import annotations

from bench.machine.sensors.cnmon import read_cnmon

if __name__ == "__main__":  # python -m bench.sensors.cnmon
    cards = read_cnmon()
    print("\n".join(map(str, cards)) if cards else "no cnmon here, or it names no card")
