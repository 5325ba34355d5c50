"""Do the cards that this machine or container was given answer? `python -m bench.health`; exit code 1 when some do not.

A device node is what the driver or `docker run --device` gave; torch counts what answers. Fewer answer than there are
nodes: half of the cards are broken or held, the driver does not fit the image, or a control node was not passed in.
"""

from __future__ import annotations

if not __package__:  # `python bench/health.py`, from any folder: its own is on the path, and not the checkout
    __import__("sys").path.insert(0, __file__.rsplit("/", 2)[0])

import sys

from bench.errors import run_cli
from bench.machine.discovery import inventory, silent_nodes
from bench.options import Command, NoOptions

COMMAND = Command("bench.health", NoOptions, description=__doc__)


def main(argv: list[str] | None = None) -> int:
    COMMAND.parse(argv)
    lines = silent_nodes()
    for line in lines:
        print(f"bench.health: error: {line}", file=sys.stderr)
    if not lines:
        print(", ".join(f"{count} {name}" for name, count in inventory().items()))
    return 1 if lines else 0


if __name__ == "__main__":
    run_cli(lambda: sys.exit(main()), "bench.health")
