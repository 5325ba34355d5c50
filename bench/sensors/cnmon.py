"""One reading of every MLU, as `cnmon` tells: `python -m bench.sensors.cnmon`."""

from __future__ import annotations

import shutil
import sys

from bench.machine.sensors.cnmon import read_cnmon

if __name__ == "__main__":  # python -m bench.sensors.cnmon
    cards = read_cnmon()
    if not cards:
        sys.exit(
            "cnmon: " + ("not on this host's PATH" if not shutil.which("cnmon") else "it is here, and names no card")
        )
    print("\n".join(map(str, cards)))
