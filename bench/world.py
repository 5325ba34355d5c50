"""The ranks of a run: who am I, wait for the others, collect what they measured. A world of one needs no network."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import timedelta

import torch.distributed as dist

from bench.device import Device

# gloo's own default is 30 minutes; a rank that has said nothing for this long is lost.
TIMEOUT = timedelta(seconds=float(os.environ.get("CRNN_TIMEOUT_S", "600")))


@dataclass(frozen=True)
class World:
    """One process of `size`. `local_rank` is its card on this host."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0
    local_size: int = 1

    @classmethod
    def here(cls) -> World:
        """As torchrun's environment says; a world of one without it."""
        names = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")
        defaults = ("0", "1", "0", "1")
        return cls(*(int(os.environ.get(name, default)) for name, default in zip(names, defaults, strict=True)))

    @property
    def leads(self) -> bool:
        return self.rank == 0

    @property
    def hosts(self) -> int:
        return self.size // self.local_size

    def join(self, device: Device) -> None:
        """Meet the other ranks. The card is already selected: cncl and nccl need that first."""
        if self.size > 1:
            dist.init_process_group(device.kind.backend, timeout=TIMEOUT)

    def leave(self) -> None:
        if dist.is_initialized():
            dist.destroy_process_group()

    def gather(self, value) -> list:
        """Every rank's value, on every rank, in rank order."""
        if self.size == 1:
            return [value]
        values = [None] * self.size
        dist.all_gather_object(values, value)
        return values

    def barrier(self) -> None:
        if self.size > 1:
            dist.barrier()
