"""How ranks share gradients: torch's DistributedDataParallel, bucket by bucket during the backward pass.

Beside a CUDA graph its hooks would be part of what is captured: there all gradients travel at once after the replay.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import bf16_compress_hook
from torch.nn.parallel import DistributedDataParallel

from bench.machine.device import Device
from models.run.options import Exchange


def exchange_gradients(network: nn.Module, device: Device, options: Exchange, sync: bool = True) -> nn.Module:
    """The network with its gradients averaged over all ranks; without `sync` each rank keeps its own.

    As bfloat16 they are half the bytes and keep eight bits each; weights and their updates stay what they are.
    """
    cards = [device.index] if device.kind.type != "cpu" else None
    parallel = DistributedDataParallel(
        network, device_ids=cards, gradient_as_bucket_view=True, bucket_cap_mb=options.bucket_mb
    )
    if options.gradients == "bfloat16":
        parallel.register_comm_hook(None, as_bfloat16)
    parallel.require_backward_grad_sync = sync  # what DDP.no_sync() sets for as long as it is entered
    return parallel


def as_bfloat16(state, bucket):  # no annotations: torch wants to see types, and here they would be text
    """torch's own hook under another name: by its own it is allowed with NCCL alone, though gloo sums bfloat16 too."""
    return bf16_compress_hook(state, bucket)


class FlatGradients:
    """The gradients of all weights that learn, as views of one tensor: its address stays, and it travels in one piece.

    Does what `exchange_gradients` does: every rank begins with the leader's weights, takes its running statistics
    before each step and the mean of all gradients after the backward pass. Without `sync` neither.
    """

    def __init__(self, network: nn.Module, options: Exchange, ranks: int, sync: bool = True):
        weights = [one for one in network.parameters() if one.requires_grad]
        sizes = [one.numel() for one in weights]
        self.flat = torch.zeros(sum(sizes), device=weights[0].device)
        for weight, part in zip(weights, self.flat.split(sizes), strict=True):
            weight.grad = part.as_strided(weight.shape, weight.stride())  # laid out as the weight: channels last, too
        self.ranks, self.sync, self.in_half = ranks, sync, options.gradients == "bfloat16"
        self.statistics = [one for one in network.buffers() if one.is_floating_point()]
        take_leaders(chain(network.parameters(), self.statistics))

    def begin_step(self) -> None:
        """The leader's running statistics on every rank, as DistributedDataParallel has them before each forward."""
        if self.sync and self.statistics:
            take_leaders(self.statistics)

    def exchange(self) -> None:
        """Every rank's gradients become the mean of all."""
        if not self.sync:
            return
        self.flat /= self.ranks
        travels = self.flat.bfloat16() if self.in_half else self.flat
        dist.all_reduce(travels)
        if self.in_half:
            self.flat.copy_(travels)


@torch.no_grad()
def take_leaders(tensors: Iterable[Tensor]) -> None:
    """Give every rank the leader's values of these tensors, which keep their addresses."""
    there = list(tensors)
    flat = torch.cat([one.reshape(-1) for one in there])
    dist.broadcast(flat, 0)
    for one, part in zip(there, flat.split([one.numel() for one in there]), strict=True):
        one.copy_(part.view(one.shape))
