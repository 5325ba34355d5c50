"""Training over links limited on purpose, beside what bench.project predicts: `python -m benchmarks.links`. Needs root.

Every process has a network namespace of its own, with one cable to a switch; `tc tbf` sets the cable's rate. A process
computes steps that exchange nothing and steps that do, in turns: the first are the model's input, the second what it
predicts.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tabulate import tabulate

from bench.errors import UserError, run_cli
from bench.options import Bounds, Command
from bench.project import PARAMETERS, Link, Work, buckets
from benchmarks.ranks import Together, trained

ADDRESS = "10.213.78.{}"
PAYLOAD = 1448 / 1514  # of an Ethernet frame, whose bytes tc counts; the rest are headers


@dataclass
class LinkOptions:
    """Measure and predict training over slow links."""

    processes: Annotated[tuple[int, ...], Bounds(2, 64)] = (2, 3, 4)
    mbit: Annotated[tuple[int, ...], Bounds(1)] = (200, 500, 1000)
    """Rates of every cable, Mbit/s one way"""
    batch: Annotated[int, Bounds(1)] = 4
    steps: Annotated[int, Bounds(1)] = 5
    """Of each kind, in turns"""
    gradients: Literal["float32", "bfloat16"] = "float32"
    """What travels"""


COMMAND = Command("benchmarks.links", LinkOptions, "--processes 2,3 --mbit 200,1000")


def sh(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True)


@contextmanager
def hosts(count: int) -> Iterator[list[str]]:
    """Names of `count` namespaces, each with a cable to a switch that has a namespace of its own: no firewall there."""
    switch, *names = [f"crnn{os.getpid()}{name}" for name in ("switch", *range(count))]
    try:
        sh("ip", "netns", "add", switch)
        sh("ip", "-n", switch, "link", "add", "switch", "type", "bridge")
        sh("ip", "-n", switch, "link", "set", "switch", "up")
        for i, name in enumerate(names):
            sh("ip", "netns", "add", name)
            sh("ip", "-n", switch, "link", "add", f"port{i}", "type", "veth", "peer", "name", "cable", "netns", name)
            sh("ip", "-n", switch, "link", "set", f"port{i}", "master", "switch", "up")
            sh("ip", "-n", name, "addr", "add", f"{ADDRESS.format(i + 1)}/24", "dev", "cable")
            sh("ip", "-n", name, "link", "set", "cable", "up")
            sh("ip", "-n", name, "link", "set", "lo", "up")
        yield names
    finally:
        for name in (*names, switch):  # what was in them goes with them
            subprocess.run(["ip", "netns", "delete", name], capture_output=True)


def limit(names: list[str], mbit: int) -> None:
    """What each sends; what it receives was sent by another."""
    for name in names:
        bucket = ["tbf", "rate", f"{mbit}mbit", "burst", "256kb", "latency", "50ms"]
        sh("tc", "-n", name, "qdisc", "replace", "dev", "cable", "root", *bucket)


def predicted(found: dict[str, float], ranks: int, mbit: int, gradients: str) -> float:
    """Seconds of a step, from one without exchange. Buckets are laid by float32 gradients whatever travels."""
    sizes = tuple(one / 2 if gradients == "bfloat16" else one for one in buckets(PARAMETERS * 4))
    return Work(found["alone_s"], sizes).step_s(ranks, Link(PAYLOAD * mbit * 1e6 / 8, found["hop_s"]))


def row(names: list[str], mbit: int, options: LinkOptions) -> list:
    limit(names, mbit)
    prefixes = [("ip", "netns", "exec", name) for name in names]
    together = Together(options.batch, options.steps, gradients=options.gradients)
    with tempfile.TemporaryDirectory() as folder:
        found = trained(together, Path(folder), len(names), ADDRESS.format(1), prefixes, GLOO_SOCKET_IFNAME="cable")
    alone, measured = found["alone_s"], found["together_s"]
    model = predicted(found, len(names), mbit, options.gradients)
    return [len(names), mbit, alone * 1e3, found["hop_s"] * 1e6, measured * 1e3, model * 1e3,
            alone / measured, alone / model, model / measured]  # fmt: skip


def main(argv: list[str] | None = None) -> None:
    options = COMMAND.parse(argv)
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # takes the namespaces away
    if os.geteuid() != 0:
        raise UserError("network namespaces and tc need root")
    rows = []
    for count in options.processes:
        with hosts(count) as names:
            rows += [row(names, mbit, options) for mbit in options.mbit]
    headers = ["processes", "Mbit/s", "compute ms", "hop us", "step ms", "predicted ms", "efficiency", "predicted",
               "predicted / measured"]  # fmt: skip
    print(tabulate(rows, headers, "github", floatfmt=("", "", ".0f", ".0f", ".0f", ".0f", ".3f", ".3f", ".2f")))


if __name__ == "__main__":
    run_cli(main, "benchmarks.links")
