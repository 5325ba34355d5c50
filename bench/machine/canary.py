"""A fixed piece of work that no change of this repository touches: a matrix product, an LSTM and, on a card, a copy.

Its best time counts, not the mean: another program's load comes and goes and leaves the best alone, a lower clock or a
throttled card does not. It is timed before and after a paired session; where it moved, the host or the card changed.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import torch

from bench.machine.device import Device

SIZE, SIZE_CARD = 1024, 8192  # of the square matrices: milliseconds each
SECONDS = 6.0  # in which the works take turns: a neighbour's burst is shorter


def canary_works(device: Device) -> dict[str, Callable[[], object]]:
    size = SIZE_CARD if device.kind.is_card else SIZE
    square = torch.ones(size, size, device=device.torch)
    lstm = torch.nn.LSTM(size // 4, size // 4).to(device.torch)
    sequence = torch.ones(26, 64, size // 4, device=device.torch)  # 26 steps: what CRNN reads from 100 px
    works: dict[str, Callable[[], object]] = {"gemm": lambda: square @ square, "lstm": lambda: lstm(sequence)}
    if device.kind.is_card:  # a CPU shares its memory with neighbours: there the time of a copy moves all the time
        block, place = (torch.ones(4, size, size, device=device.torch) for _ in range(2))
        works["copy"] = lambda: place.copy_(block)
    return works


def timed_ms(device: Device, work: Callable[[], object]) -> float:
    device.synchronize()
    began = time.perf_counter()
    work()
    device.synchronize()
    return (time.perf_counter() - began) * 1e3


def canary_ms(device: Device) -> dict[str, float]:
    """The best time of each work, milliseconds."""
    works = canary_works(device)
    best = dict.fromkeys(works, math.inf)
    until = time.perf_counter() + SECONDS
    with torch.no_grad():
        while time.perf_counter() < until:
            for name, work in works.items():
                best[name] = min(best[name], timed_ms(device, work))
    return best
