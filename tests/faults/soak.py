"""Training and testing in turn, in one process, for a long time: `python -m tests.faults.soak --minutes 60`.

Memory, open files, threads and child processes are sampled after every round. Flat means: the median of the last third
of the samples is at most 2 % (memory) or nothing (the others) above that of the middle third.
"""

from __future__ import annotations

import argparse
import gc
import shutil
import sys
import time
from statistics import median

import psutil

from models import test, train
from tests.faults.runs import Place, narrow, place, quiet

TOLERATED = {"memory_mb": 0.02, "files": 0, "threads": 0, "processes": 0}


def sample() -> dict[str, float]:
    gc.collect()
    me = psutil.Process()
    return {
        "memory_mb": me.memory_info().rss / 1e6,
        "files": me.num_fds(),
        "threads": me.num_threads(),
        "processes": len(me.children(recursive=True)),
    }


def one_round(where: Place, workers: int) -> None:
    """A training of three epochs and a test of what it learned; every other round with a loader process."""
    with quiet():
        train.main(where.words(workers=workers))
        ignored = {"--epochs", "--save-every", "--log-every"}
        words = where.words(workers=workers, latency_runs=2)
        pairs = zip(words[::2], words[1::2], strict=True)
        test.main([word for pair in pairs if pair[0] not in ignored for word in pair])
    shutil.rmtree(where.folder / "runs")


def growth(samples: list[dict], name: str) -> float:
    """Of the last third over the middle one, as a share."""
    third = max(1, len(samples) // 3)
    middle, last = (median(one[name] for one in part) for part in (samples[-2 * third : -third], samples[-third:]))
    return (last - middle) / max(middle, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60)
    options = parser.parse_args()
    narrow()
    samples, began = [], time.monotonic()
    with place() as where:
        while time.monotonic() - began < options.minutes * 60 or len(samples) < 6:
            one_round(where, workers=len(samples) % 2)
            samples.append(sample())
            if len(samples) % max(1, len(samples) // 20) == 0:
                said = ", ".join(f"{name} {value:.0f}" for name, value in samples[-1].items())
                print(f"{(time.monotonic() - began) / 60:5.1f} min, round {len(samples)}: {said}", flush=True)
    grown = {name: growth(samples, name) for name in TOLERATED}
    print("| | first | middle third | last third | growth | flat |\n|---|---|---|---|---|---|")
    third = max(1, len(samples) // 3)
    for name, tolerated in TOLERATED.items():
        parts = (samples[:1], samples[-2 * third : -third], samples[-third:])
        values = " | ".join(f"{median(one[name] for one in part):.1f}" for part in parts)
        print(f"| {name} | {values} | {grown[name]:+.1%} | {'yes' if grown[name] <= tolerated else 'NO'} |")
    print(f"{len(samples)} rounds of training and testing in {(time.monotonic() - began) / 60:.1f} minutes")
    sys.exit(any(grown[name] > tolerated for name, tolerated in TOLERATED.items()))


if __name__ == "__main__":
    main()
