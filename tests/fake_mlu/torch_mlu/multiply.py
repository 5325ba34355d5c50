"""What an MLU does to the factors of a convolution or a matrix product: TF32 rounding, float32 accumulators for half.

    torch.backends.cnnl.allow_tf32          convolutions; on by default
    torch.backends.mlu.matmul.allow_tf32    matrix products; off unless TORCH_ALLOW_TF32_CNMATMUL_OVERRIDE=1
    torch.backends.mlu.custom.allow_tf32    the rest; off

With a switch on, float32 factors lose the 13 low bits of their mantissa, so an "FP32" run that leaves convolutions in
TF32 does not reproduce the CPU's losses, here as on a card.
"""

import os
import sys
import types

import torch
from torch.utils._pytree import tree_leaves, tree_map_only


class Switch(types.ModuleType):
    """A module with one flag, such as `torch.backends.cnnl`."""

    def __init__(self, name: str, allow_tf32: bool) -> None:
        super().__init__(name)
        self.allow_tf32 = allow_tf32


cnnl = Switch("torch.backends.cnnl", True)
matmul = Switch("torch.backends.mlu.matmul", os.environ.get("TORCH_ALLOW_TF32_CNMATMUL_OVERRIDE") == "1")
custom = Switch("torch.backends.mlu.custom", False)

FACTORS = {  # operator -> its switch and the positions of the arguments it multiplies
    "aten::convolution": (cnnl, (0, 1)),
    "aten::convolution_backward": (cnnl, (0, 1, 2)),
    "aten::mm": (matmul, (0, 1)),
    "aten::bmm": (matmul, (0, 1)),
    "aten::addmm": (matmul, (1, 2)),
    "aten::baddbmm": (matmul, (1, 2)),
}


def _round(tensor: torch.Tensor) -> torch.Tensor:
    """A float32 tensor rounded to TF32's 10 explicit mantissa bits (of 23: the low 13 go)."""
    if tensor.dtype != torch.float32:
        return tensor
    return ((tensor.contiguous().view(torch.int32) + 0x1000) & ~0x1FFF).view(torch.float32)


def _is_half(value) -> bool:
    return isinstance(value, torch.Tensor) and value.dtype == torch.float16


def _through_float32(operator, args: tuple, kwargs: dict):
    """Half factors, float32 sums, one rounding at the end; also 20 times the speed of a CPU's own half convolution."""
    wide = {name: torch.empty(0) for name, value in kwargs.items() if _is_half(value)}  # only `out` is by keyword
    result = operator(*tree_map_only(_is_half, torch.Tensor.float, args), **kwargs | wide)
    for name, sums in wide.items():
        kwargs[name].resize_(sums.shape).copy_(sums)
    return tree_map_only(torch.Tensor, torch.Tensor.half, result)


def call(operator, args: tuple, kwargs: dict):
    """Run `operator` on CPU tensors, with an MLU's arithmetic if it multiplies."""
    switch, positions = FACTORS.get(operator.name().split(".")[0], (custom, ()))
    if positions and switch.allow_tf32:
        args = tuple(_round(a) if position in positions else a for position, a in enumerate(args))
    if positions and any(map(_is_half, tree_leaves(args))):
        return _through_float32(operator, args, kwargs)
    return operator(*args, **kwargs)


def register() -> None:
    """Put the switches where the real library has them."""
    mlu = types.ModuleType("torch.backends.mlu")
    mlu.matmul, mlu.custom, mlu.is_built = matmul, custom, lambda: True
    torch.backends.cnnl, torch.backends.mlu = cnnl, mlu
    sys.modules |= {m.__name__: m for m in (cnnl, mlu, matmul, custom)}
