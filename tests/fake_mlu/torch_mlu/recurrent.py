"""LSTM, GRU and plain RNN: layers, padded and packed, and single cells.

PyTorch would decompose them on a PrivateUse1 device into cells the CPU does not have, so the whole layer
or cell runs as the CPU's own operator inside one autograd function. Losses are then bit-identical to the CPU's.
"""

import torch
from torch.library import Library
from torch.utils._pytree import tree_flatten, tree_unflatten

from . import kernels
from .alias import is_mlu, to_cpu, to_mlu

_library = Library("aten", "IMPL")

LAYERS = [
    getattr(getattr(torch.ops.aten, kind), form)
    for kind in ("lstm", "gru", "rnn_tanh", "rnn_relu")
    for form in ("input", "data")  # padded; packed with `batch_sizes` on the host
] + [getattr(torch.ops.aten, f"{kind}_cell").default for kind in ("lstm", "gru", "rnn_tanh", "rnn_relu")]


class OnHost(torch.autograd.Function):
    """Run an operator on CPU aliases of its tensors and keep the CPU graph for the backward pass."""

    @staticmethod
    def forward(ctx, operator, shape, index, *flat):
        host = [to_cpu(v.detach()) if is_mlu(v) else v for v in flat]
        for alias, value in zip(host, flat, strict=True):
            if is_mlu(value) and value.requires_grad:
                alias.requires_grad_()
        with torch.enable_grad():
            outputs = operator(*tree_unflatten(host, shape))
        ctx.outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        ctx.inputs, ctx.index = host, index
        return tuple(to_mlu(output.detach(), index) for output in ctx.outputs)

    @staticmethod
    def backward(ctx, *gradients):
        wanted = [v for v in ctx.inputs if isinstance(v, torch.Tensor) and v.requires_grad]
        found = torch.autograd.grad(
            ctx.outputs, wanted, [to_cpu(g) for g in gradients], retain_graph=True, allow_unused=True
        )
        found = dict(zip(map(id, wanted), found, strict=True))
        back = (found.get(id(v)) for v in ctx.inputs)
        return (None, None, None, *(None if g is None else to_mlu(g, ctx.index) for g in back))


def _layer(operator):
    def run(*args, **kwargs):
        named = operator._schema.arguments
        args = (*args, *(kwargs.get(a.name, a.default_value) for a in named[len(args) :]))
        flat, shape = tree_flatten(args)
        tensors = [v for v in flat if is_mlu(v) or (isinstance(v, torch.Tensor) and v.is_floating_point())]
        index = kernels.admit(operator, tensors)
        outputs = OnHost.apply(operator, shape, index, *flat)
        return outputs if len(operator._schema.returns) > 1 else outputs[0]

    return run


def register() -> None:
    """Override the layers above autograd, where the real library overrides `lstm` too."""
    for operator in LAYERS:
        for key in ("AutogradPrivateUse1", "PrivateUse1"):
            _library.impl(operator, _layer(operator), key)
