"""Bytes that live `mlu` tensors hold on each card, sampled: dead ones are swept every `SWEEP` allocations.

Good enough for a program to have a number to record; it says nothing about a real allocator.
"""

from collections import defaultdict

import torch
from torch.multiprocessing.reductions import StorageWeakRef

SWEEP = 64

_storages: dict[int, list[tuple[StorageWeakRef, int]]] = defaultdict(list)
_peak: dict[int, int] = defaultdict(int)
_since_sweep = 0


def allocated(index: int) -> int:
    """Bytes held on card `index` now; also moves its peak."""
    _storages[index] = [entry for entry in _storages[index] if not entry[0].expired()]
    held = sum(size for _, size in _storages[index])
    _peak[index] = max(_peak[index], held)
    return held


def peak(index: int) -> int:
    allocated(index)
    return _peak[index]


def reset_peak(index: int) -> None:
    _peak[index] = 0
    allocated(index)


def track(tensor: torch.Tensor) -> torch.Tensor:
    """Count a new `mlu` tensor's storage and return the tensor."""
    global _since_sweep
    storage = tensor.untyped_storage()
    _storages[tensor.device.index].append((StorageWeakRef(storage), storage.nbytes()))
    _since_sweep += 1
    if _since_sweep >= SWEEP:
        _since_sweep = 0
        allocated(tensor.device.index)
    return tensor
