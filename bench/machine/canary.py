"""A fixed piece of work that no change of this repository touches: `python -m bench.machine.canary CPU`.

Prints JSON, the best time of many of a matrix product, an LSTM and, on a card, a copy. The best, not the mean: another
program's load comes and goes and leaves the best alone, a lower clock or a throttled card does not. Run before and
after a sitting; where it moved, the host or the card changed.
"""

from __future__ import annotations

import json
import math
import sys
import time

import torch

from bench.machine.device import Device, best

SIZES = {"cpu": 1024, "cuda": 8192, "mlu": 8192}  # of the square matrices: milliseconds each
SECONDS = 6.0  # in which the works take turns: a neighbour's burst is shorter


def works(device: Device) -> dict:
    size = SIZES[device.kind.type]
    square = torch.ones(size, size, device=device.torch)
    lstm = torch.nn.LSTM(size // 4, size // 4).to(device.torch)
    sequence = torch.ones(26, 64, size // 4, device=device.torch)  # 26 steps: what CRNN reads from 100 px
    each = {"gemm": lambda: square @ square, "lstm": lambda: lstm(sequence)}
    if device.kind.type != "cpu":  # whose memory is its neighbours' too, so that copies move whatever happens
        block, place = (torch.ones(4, size, size, device=device.torch) for _ in range(2))
        each["copy"] = lambda: place.copy_(block)
    return each


def timed_ms(device: Device, work) -> float:
    device.synchronize()
    began = time.perf_counter()
    work()
    device.synchronize()
    return (time.perf_counter() - began) * 1e3


def best_ms(device: Device) -> dict[str, float]:
    """The best time of each work, milliseconds."""
    each = works(device)
    best = dict.fromkeys(each, math.inf)
    until = time.perf_counter() + SECONDS
    while time.perf_counter() < until:
        for name, work in each.items():
            best[name] = min(best[name], timed_ms(device, work))
    return best


if __name__ == "__main__":
    with torch.no_grad():
        name = sys.argv[1]  # or "best", which a launcher takes when a run names no device
        print(json.dumps(best_ms(Device.open(best() if name == "best" else name))))
