"""How ranks share gradients: torch's DistributedDataParallel, bucket by bucket during the backward pass."""

from __future__ import annotations

from torch import nn
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
