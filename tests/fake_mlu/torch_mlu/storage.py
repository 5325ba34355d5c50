"""Saving, loading and deep copies of `mlu` storages; torch's own ways ask a C++ allocator there is not."""

import torch

from .alias import to_cpu, to_mlu

PRIORITY = 5  # before the PrivateUse1 entry that torch registers, whose restore would crash
_clone = torch.UntypedStorage.clone


def _bytes_of(storage) -> torch.Tensor:
    """A flat byte tensor over `storage`, on its device."""
    return torch.empty(0, dtype=torch.uint8, device=storage.device).set_(storage)


def _tag(storage) -> str | None:
    return str(storage.device) if storage.device.type == "mlu" else None


def _place(storage, location: str):
    if not location.startswith("mlu"):
        return None
    if storage.device.type == "mlu":
        return storage
    return to_mlu(_bytes_of(storage), torch.device(location).index or 0).untyped_storage()


def _clone_anywhere(storage):
    if storage.device.type != "mlu":
        return _clone(storage)
    copy = to_cpu(_bytes_of(storage)).clone()
    return to_mlu(copy, storage.device.index).untyped_storage()


def register() -> None:
    """Teach `torch.save`, `torch.load` and `copy.deepcopy` the `mlu` device."""
    torch.serialization.register_package(PRIORITY, _tag, _place)
    torch.UntypedStorage.clone = _clone_anywhere
