"""What a second host costs: one host with two processes against two hosts with one each, in turn; prints a table.

    python -m tests.hosts.throughput [--rounds 2] [--steps 12]      (root; docs/hosts.md has the last result)

Both hosts are this machine, so the cores are the same and only the exchange of gradients goes another way.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
from pathlib import Path

from bench.records.record import Record
from tests.hosts.network import Cable

RUN = "CRNN_FP32_30E_1CPU_Train"
CASES = {  # name: hosts, processes a host, what limits the cable
    "1 host, 2 processes": ((0,), 2, None),
    "2 hosts, 1 process each": ((0, 1), 1, None),
    "2 hosts, cable of 1 Gbit/s": ((0, 1), 1, "1gbit"),
}


def rate(case: str, steps: int, folder: Path) -> float:
    """Images a second of one job on a cable of its own."""
    hosts, cards, limit = CASES[case]
    words = ["--steps", str(steps), "--warmup-steps", "4", "--batch-size", "32", "--input", "synthetic"]
    alone = {"NNODES": "1"} if len(hosts) == 1 else {}
    keep = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    settings = {"CRNN_PYTHON": sys.executable, "OMP_NUM_THREADS": "1", "CARDS": str(cards), **keep, **alone}
    settings["PYTORCH_TRAIN_DATASET"] = str(folder)  # named, so that no sample is rendered; nothing is read from it
    with Cable(folder) as cable:
        if limit:
            cable.limit(limit)
        for running in cable.run(RUN, *words, "--results", str(folder), hosts=hosts, **settings):
            if running.wait(300):
                sys.exit(running.said())
    [record] = [Record.load(path) for path in folder.glob("*.json")]
    return record.throughput["images_per_s"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--steps", type=int, default=12)
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the cable is taken away
    found: dict[str, list[float]] = {case: [] for case in CASES}
    for _ in range(options.rounds):
        for case, rates in found.items():
            with tempfile.TemporaryDirectory() as folder:
                rates.append(rate(case, options.steps, Path(folder)))
            print(f"{case}: {rates[-1]:.1f}", file=sys.stderr, flush=True)
    print("| images/s | " + " | ".join(f"run {i + 1}" for i in range(options.rounds)) + " |")
    print("|---" * (options.rounds + 1) + "|")
    for case, rates in found.items():
        print(f"| {case} | " + " | ".join(f"{rate:.1f}" for rate in rates) + " |")


if __name__ == "__main__":
    main()
