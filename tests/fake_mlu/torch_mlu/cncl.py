"""`cncl`, the process group of the MLU, over gloo: each collective runs on CPU aliases of the tensors."""

import torch
import torch.distributed as dist
from torch.utils._pytree import tree_leaves, tree_map_only

from . import journal, runtime
from .alias import is_mlu, to_cpu

FORWARDED = (
    "allgather", "allgather_coalesced", "_allgather_base", "allreduce", "allreduce_coalesced", "alltoall",
    "alltoall_base", "barrier", "broadcast", "gather", "reduce", "reduce_scatter", "_reduce_scatter_base",
    "recv", "recv_anysource", "scatter", "send",
)  # fmt: skip
# Names that torch 2.13 calls for the same collectives.
RENAMED = {"all_gather_single": "_allgather_base", "reduce_scatter_single": "_reduce_scatter_base"}


def _done(value):
    future = torch.futures.Future()
    future.set_result(value)
    return torch._C._distributed_c10d._create_work_from_future(future)


def _tensors(args) -> list[torch.Tensor]:
    return [leaf for leaf in tree_leaves(args) if isinstance(leaf, torch.Tensor)]


class ProcessGroupCNCL(dist.ProcessGroup):
    """A process group that finishes every collective before it returns."""

    def __init__(self, store, rank: int, size: int, timeout) -> None:
        super().__init__(rank, size)
        self._gloo = dist.ProcessGroupGloo(store, rank, size, timeout)
        journal.note("init_process_group", device=runtime.current_device(), started=runtime.is_initialized())

    def getBackendName(self):  # noqa: N802 (torch's name)
        return "cncl"

    @property
    def _device_types(self) -> list[torch.device]:
        """Where tensors may be: on the host too in a group made with `cpu:gloo,mlu:cncl`."""
        backends = dist.distributed_c10d._world.pg_backend_config.get(self, "")
        return [torch.device(kind) for kind in ("cpu", "mlu") if kind == "mlu" or "cpu:" in str(backends)]

    def collect(self, name: str, args, kwargs):
        """Run gloo's collective `name` on CPU aliases and return a finished work."""
        if len(self._device_types) == 1 and not all(map(is_mlu, _tensors(args))):
            raise RuntimeError("No backend type associated with device type cpu")
        on_cpu = tree_map_only(torch.Tensor, lambda t: to_cpu(t) if is_mlu(t) else t, args)
        getattr(self._gloo, name)(*on_cpu, **kwargs).wait()
        return _done(_tensors(args))


def _forward(name: str):
    def collective(self, *args, **kwargs):
        return self.collect(name, args, kwargs)

    return collective


for _name in FORWARDED:
    setattr(ProcessGroupCNCL, _name, _forward(_name))
for _name, _target in RENAMED.items():
    setattr(ProcessGroupCNCL, _name, _forward(_target))


def register() -> None:
    """Make `init_process_group("cncl")` work."""
    dist.Backend.register_backend("cncl", ProcessGroupCNCL, devices=["mlu"])
