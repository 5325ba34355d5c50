"""Do the cards that this machine or container was given answer? `python -m bench.health`; exit code 1 when some do not.

A device node is what the driver or `docker run --device` gave; torch counts what answers. Fewer answer than there are
nodes: half of the cards are broken or held, the driver does not fit the image, or a control node was not passed in.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from bench.machine import device
from bench.machine.discovery import visibility
from bench.options import Command, NoOptions

# Nodes of the cards themselves, not of their controls.
NODES = {"MLU": r"cambricon_dev\d+", "GPU": r"nvidia\d+"}


def nodes(name: str, folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if re.fullmatch(NODES[name], path.name))


def faults(folder: Path = Path("/dev")) -> list[str]:
    """One line for each kind of card of which fewer answer than there are nodes."""
    found = []
    for name in NODES:
        given, answering = nodes(name, folder), device.present(name)
        if visibility(device.DEVICES[name]) is None and answering < len(given):
            found.append(f"{answering} of {len(given)} {name} answer ({', '.join(given)} in {folder})")
    return found


def main() -> int:
    lines = faults()
    for line in lines:
        print(f"bench.health: error: {line}", file=sys.stderr)
    if not lines:
        print(", ".join(f"{count} {name}" for name, count in device.inventory().items()))
    return 1 if lines else 0


COMMAND = Command("bench.health", NoOptions, description=__doc__)

if __name__ == "__main__":
    COMMAND.parse()
    sys.exit(main())
