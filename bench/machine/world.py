"""The ranks of a run: who am I, wait for the others, collect what they measured. A world of one needs no network."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

from bench.errors import UserError, seconds_setting
from bench.machine.device import Device

# A rank that has said nothing for this long is lost. gloo's own default is 30 minutes; the longest silence of a run is
# the leader writing a checkpoint, seconds, or a host reading a data set's labels slower than another, a minute or two.
TIMEOUT = timedelta(seconds=seconds_setting("CRNN_TIMEOUT_S", "300"))


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
    def restarts(self) -> int:
        """How often the launcher of this host has started its processes again after one of them failed."""
        return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))

    @property
    def job(self) -> str | None:
        """The name of the launch, the same after a restart; None for a process without a launcher."""
        return os.environ.get("TORCHELASTIC_RUN_ID")

    @property
    def hosts(self) -> int:
        return self.size // self.local_size

    def join(self, device: Device) -> None:
        """Meet the other ranks. The card is already selected: cncl and nccl need that first."""
        if self.size > 1:
            dist.init_process_group(device.kind.backend, timeout=TIMEOUT)
            self.same_cards(device.card_name())

    def same_cards(self, card: str) -> None:
        """Refuse cards of two kinds: their row would have no name. CRNN_MIXED_HOSTS=1 allows it."""
        kinds = dict.fromkeys(self.gather(card))
        if len(kinds) > 1 and os.environ.get("CRNN_MIXED_HOSTS") != "1":
            raise UserError(f"the ranks run on {' and '.join(kinds)}; use cards of one kind, or set CRNN_MIXED_HOSTS=1")

    def leave(self) -> None:
        if dist.is_initialized():
            dist.destroy_process_group()

    def gather(self, value: Any) -> list[Any]:
        """Every rank's value, on every rank, in rank order."""
        if self.size == 1:
            return [value]
        values = [None] * self.size
        dist.all_gather_object(values, value)
        return values

    def share(self, value: Any) -> Any:
        """The leader's value, on every rank; what the others pass is not looked at."""
        if self.size == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0)
        return box[0]

    def first(self, event: str) -> bool:
        """Whether this rank is the first to name this event. No rank has to answer but the one that keeps the store,
        the leader; when it is gone, everyone is first.
        """
        if self.size == 1:
            return True
        try:
            return dist.distributed_c10d._get_default_store().add(f"crnn/{event}", 1) == 1
        except RuntimeError:  # of a store that cannot be reached
            return True

    def barrier(self) -> None:
        if self.size > 1:
            dist.barrier()


class Vote:
    """Whether any rank has said yes, told to all of them at the same step.

    The answer is that of the call before: the exchange overlaps a step, and no rank waits for it. It goes
    through gloo on every device, which also notices at once when a rank is gone. Make it on all ranks together.
    """

    def __init__(self, world: World):
        self.alone = world.size == 1
        self.group = None if self.alone else dist.new_group(backend="gloo", timeout=TIMEOUT)
        self.pending: tuple[dist.Work, torch.Tensor] | None = None

    def __call__(self, yes: bool) -> bool:
        if self.alone:
            return yes
        ballot, before = torch.tensor([int(yes)]), self.pending
        self.pending = dist.all_reduce(ballot, dist.ReduceOp.MAX, self.group, async_op=True), ballot
        if before is None:
            return False
        before[0].wait()
        return bool(before[1])
