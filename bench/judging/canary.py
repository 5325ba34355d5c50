"""A fixed piece of work that no change of this repository touches: `python -m bench.judging.canary CPU`.

Prints JSON, the best time of many of a matrix product, an LSTM and a copy. The best, not the mean: another program's
load comes and goes and leaves the best alone, a lower clock or a throttled card does not. Run before and after a
sitting; where it moved, the host or the card changed.
"""

from __future__ import annotations

import json
import math
import sys
import time

import torch

from bench.device import Device

SIZES = {"cpu": 384, "cuda": 4096, "mlu": 4096}  # of the square matrices: a few milliseconds each
REPEATS = 40


def works(device: Device) -> dict:
    size = SIZES[device.kind.type]
    square = torch.ones(size, size, device=device.torch)
    lstm = torch.nn.LSTM(size // 4, size // 4).to(device.torch)
    sequence = torch.ones(26, 16, size // 4, device=device.torch)  # 26 steps: what CRNN reads from 100 px
    return {"gemm": lambda: square @ square, "lstm": lambda: lstm(sequence), "copy": lambda: square.clone()}


def best_ms(device: Device, work) -> float:
    best = math.inf
    for _ in range(REPEATS):
        device.synchronize()
        began = time.perf_counter()
        work()
        device.synchronize()
        best = min(best, time.perf_counter() - began)
    return best * 1e3


if __name__ == "__main__":
    with torch.no_grad():
        card = Device.open(sys.argv[1])
        print(json.dumps({name: best_ms(card, work) for name, work in works(card).items()}))
