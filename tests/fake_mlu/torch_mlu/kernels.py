"""Every operator on `mlu`: one boxed fallback that runs the CPU's kernel, and the few written out.

In-place and `out=` operators work because the CPU alias shares memory with the `mlu` tensor. Views must
share the *storage object*, so they call the CPU kernel on the `mlu` tensor itself.

The stand-in is strict where hardware is strict (mixed devices, bfloat16 on MLU370) and slow where hardware
is asynchronous: with FAKE_MLU_OP_US every operator owes that many microseconds, paid only when the host
waits for the device, so a measurement that forgets to drain reads far too fast.
"""

import os
import time
import warnings

import torch
from torch.library import Library
from torch.utils._pytree import tree_flatten, tree_unflatten

from . import cards, journal, multiply, runtime
from .alias import is_mlu, to_cpu, to_mlu

aten = torch.ops.aten
_library = Library("aten", "IMPL")
_everything = Library("_", "IMPL")
_CPU_KEYS = torch._C.DispatchKeySet(torch._C.DispatchKey.CPU)

# Operators that real kernels let read a host tensor along with device tensors (indices, CTC's lengths).
HOST_ARGUMENTS_ALLOWED = ("index", "_index", "_ctc_loss", "_copy_from", "_pad_packed", "_embedding_bag")

VIEWS = (
    "as_strided", "view", "_reshape_alias", "unfold", "alias", "set_.source_Tensor", "set_.source_Storage",
    "set_.source_Storage_storage_offset", "set_", "view_as_real", "view_as_complex",
)  # fmt: skip


def _name(operator) -> str:
    return operator.name().split(".")[0]  # aten::mm, whichever overload


def card_of(operator, tensors: list[torch.Tensor]) -> int:
    """The card of an operator's arguments; raises torch's own sentence when they are on several devices."""
    devices = {t.device for t in tensors if t.dim() > 0 or is_mlu(t)}
    if _name(operator).removeprefix("aten::").startswith(HOST_ARGUMENTS_ALLOWED):
        devices = {d for d in devices if d.type == "mlu"}
    if len(devices) > 1:
        found = ", ".join(sorted(map(str, devices)))
        raise RuntimeError(
            f"Expected all tensors to be on the same device, but found at least two devices, {found}! "
            f"(when checking arguments of {operator})"
        )
    return next((d.index for d in devices if d.type == "mlu"), runtime.current_device())


def _refuse_bfloat16(operator, index: int, tensors: list[torch.Tensor]) -> None:
    if any(t.dtype == torch.bfloat16 for t in tensors) and cards.properties(index).major < 5:
        raise RuntimeError(f"{operator} is not implemented for 'BFloat16' on {cards.properties(index).name}")


_fallbacks = {name for name in os.environ.get("FAKE_MLU_FALLBACK", "").split(",") if name}


def _fall_back_to_cpu(operator) -> None:
    """Warn once, or refuse, for an operator named in FAKE_MLU_FALLBACK, as MLUFallback.cpp does."""
    name = _name(operator)
    short = name.removeprefix("aten::")
    if short not in _fallbacks:
        return
    if os.environ.get("ENABLE_FALLBACK_TO_CPU", "1") == "0":
        raise NotImplementedError(f"Could not run '{name}' with arguments from the 'MLU' backend.")
    _fallbacks.discard(short)
    warnings.warn(
        f"The operator '{name}' is not currently supported on the MLU backend and will fall back to run on the CPU.",
        stacklevel=2,
    )


_OP_SECONDS = float(os.environ.get("FAKE_MLU_OP_US", "0")) / 1e6
_owed_seconds = 0.0


def drain() -> None:
    """Wait for the device: sleep what the operators since the last drain owe."""
    global _owed_seconds
    owed, _owed_seconds = _owed_seconds, 0.0
    if owed:
        time.sleep(owed)


def _account(operator) -> None:
    global _owed_seconds
    journal.operators.add(_name(operator))
    _owed_seconds += _OP_SECONDS
    if operator is aten._local_scalar_dense.default:
        drain()


def _outputs_of(operator, args, kwargs):
    """The tensors an operator writes, in the order it returns them; None for a functional operator."""
    if not operator._schema.is_mutable:
        return None
    named = dict(zip((a.name for a in operator._schema.arguments), args, strict=False)) | kwargs
    return [named[a.name] for a in operator._schema.arguments if a.alias_info and a.alias_info.is_write]


def _run_on_cpu(operator, args, kwargs):
    """Call `operator` with every `mlu` tensor replaced by its CPU alias and every `mlu` device by the CPU."""
    flat, shape = tree_flatten((args, kwargs))
    flat = [to_cpu(v) if is_mlu(v) else v for v in flat]
    flat = [torch.device("cpu") if isinstance(v, torch.device) else v for v in flat]
    args, kwargs = tree_unflatten(flat, shape)
    return multiply.call(operator, args, kwargs)


def _run_with_out(operator, args, kwargs, names):
    """`out=` operators may resize: an empty output is computed in a CPU tensor of its own and moved in."""
    fresh = {n: torch.empty(0, dtype=kwargs[n].dtype) for n in names if kwargs[n].numel() == 0}
    _run_on_cpu(operator, args, kwargs | fresh)
    for name, result in fresh.items():
        kwargs[name].resize_(result.shape)
        to_cpu(kwargs[name]).copy_(result)


def admit(operator, tensors: list[torch.Tensor]) -> int:
    """Check that `operator` may run on these tensors, book it, and return its card."""
    index = card_of(operator, tensors)
    runtime.ensure_started(index)
    _refuse_bfloat16(operator, index, tensors)
    _fall_back_to_cpu(operator)
    _account(operator)
    return index


def run(operator, *args, **kwargs):
    """The boxed fallback: `operator` with CPU kernels on `mlu` arguments; results carry the `mlu` label."""
    tensors = [v for v in tree_flatten((args, kwargs))[0] if isinstance(v, torch.Tensor)]
    index = admit(operator, tensors)
    outputs = _outputs_of(operator, args, kwargs)
    if outputs is None:
        result = _run_on_cpu(operator, args, kwargs)
        return torch.utils._pytree.tree_map_only(torch.Tensor, lambda t: to_mlu(t, index), result)
    names = [a.name for a in operator._schema.arguments if a.is_out]
    if names:
        _run_with_out(operator, args, kwargs, names)
    else:
        _run_on_cpu(operator, args, kwargs)
    returned = outputs[: len(operator._schema.returns)]
    return returned[0] if len(returned) == 1 else tuple(returned) or None


def _view(name: str):
    packet, _, overload = name.partition(".")
    operator = getattr(getattr(aten, packet), overload or "default")
    return lambda *args, **kwargs: operator.redispatch(_CPU_KEYS, *args, **kwargs)


def _index_of(device) -> int:
    index = torch.device(device).index if device is not None else None
    index = runtime.current_device() if index is None else index
    runtime.ensure_started(index)
    return index


def _empty(size, dtype=None, layout=None, device=None, pin_memory=None, memory_format=None):
    memory_format = memory_format or torch.contiguous_format
    tensor = torch.empty(size, dtype=dtype, device="cpu", memory_format=memory_format)
    return to_mlu(tensor, _index_of(device))


def _empty_strided(size, stride, dtype=None, layout=None, device=None, pin_memory=None):
    return to_mlu(torch.empty_strided(size, stride, dtype=dtype, device="cpu"), _index_of(device))


def _copy_from(source, target, non_blocking=False):
    """Host to device, device to host (which waits for the device) and card to card."""
    if not is_mlu(target) and not non_blocking:
        drain()
    plain = [to_cpu(t) if is_mlu(t) else t for t in (source, target)]
    plain[1].copy_(plain[0])
    return target


def _copy_from_and_resize(source, target):
    target.resize_(source.shape)
    return _copy_from(source, target)


def _resize(tensor, size, memory_format=None):
    fresh = torch.empty(size, dtype=tensor.dtype, device="cpu", memory_format=memory_format or torch.contiguous_format)
    kept = min(tensor.numel(), fresh.numel())
    if tensor.is_contiguous():
        fresh.view(-1)[:kept].copy_(to_cpu(tensor).reshape(-1)[:kept]) if fresh.is_contiguous() else None
    grown = to_mlu(fresh, tensor.device.index)
    tensor.set_(grown.untyped_storage(), 0, fresh.shape, fresh.stride())
    return tensor


def _convolution(x, weight, bias, stride, padding, dilation, transposed, output_padding, groups):
    return run(
        aten.convolution.default,
        x,
        weight,
        bias,
        stride,
        padding,
        dilation,
        transposed,
        output_padding,
        groups,
    )


def _convolution_backward(grad, x, weight, stride, padding, dilation, transposed, output_padding, groups, output_mask):
    return run(
        aten.convolution_backward.default,
        grad, x, weight, [weight.shape[1] * groups if transposed else weight.shape[0]],
        stride, padding, dilation, transposed, output_padding, groups, output_mask,
    )  # fmt: skip


WRITTEN_OUT = {
    "empty.memory_format": _empty,
    "empty_strided": _empty_strided,
    "_copy_from": _copy_from,
    "_copy_from_and_resize": _copy_from_and_resize,
    "resize_": _resize,
    "convolution_overrideable": _convolution,
    "convolution_backward_overrideable": _convolution_backward,
}
PINNING = {  # no pinned allocator: a copy that does not say it is pinned
    "is_pinned": lambda tensor, device=None: False,
    "_pin_memory": lambda tensor, device=None: tensor.clone(),
}


def register() -> None:
    """Install the fallback, the views and the operators written out for the `mlu` device."""
    _everything.fallback(run, "PrivateUse1")
    for name in VIEWS:
        _library.impl(name, _view(name), "PrivateUse1")
    for name, kernel in WRITTEN_OUT.items():
        _library.impl(name, kernel, "PrivateUse1")
    for name, kernel in PINNING.items():
        _library.impl(name, kernel, "CPU")
