"""Give CPU memory an `mlu` label and take it off again, without a copy.

A DLPack capsule is a small C structure around a data pointer. Rewriting its device from 1 (CPU) to 12
(kDLExtDev, which torch reads as PrivateUse1) makes `from_dlpack` return a plain `torch.Tensor` on `mlu:N`
that shares the CPU tensor's memory, strides included.
"""

import ctypes

import torch

from . import memory

ON_CPU, ON_MLU = 1, 12  # DLDeviceType: kDLCPU, kDLExtDev
_DEVICE_OFFSET = ctypes.sizeof(ctypes.c_void_p)  # DLTensor begins with `void* data; int32 type; int32 id`

_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_pointer.restype = ctypes.c_void_p
_pointer.argtypes = [ctypes.py_object, ctypes.c_char_p]


def _relabel(tensor: torch.Tensor, kind: int, index: int) -> torch.Tensor:
    capsule = torch._C._to_dlpack(tensor)
    device = (ctypes.c_int32 * 2).from_address(_pointer(capsule, b"dltensor") + _DEVICE_OFFSET)
    device[0], device[1] = kind, index
    return torch._C._from_dlpack(capsule)


def to_cpu(tensor: torch.Tensor) -> torch.Tensor:
    """A CPU tensor over the same memory as an `mlu` tensor."""
    return _relabel(tensor, ON_CPU, 0)


def to_mlu(tensor: torch.Tensor, index: int) -> torch.Tensor:
    """A tensor on `mlu:index` over the same memory as a CPU tensor."""
    return memory.track(_relabel(tensor, ON_MLU, index))


def is_mlu(value) -> bool:
    return isinstance(value, torch.Tensor) and value.device.type == "mlu"
