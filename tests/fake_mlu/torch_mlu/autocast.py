"""Autocast on `mlu`: which operators run in the lower precision, which in float32.

The LSTM goes to float16 under any autocast type, as the real library's autocast_rnn.cpp does.
"""

import torch
from torch.library import Library, fallthrough_kernel
from torch.utils._pytree import tree_map_only

_library = Library("aten", "IMPL")
_everything = Library("_", "IMPL")
_KEY = torch._C.DispatchKeySet(torch._C.DispatchKey.AutocastPrivateUse1)

LOWER = (
    "convolution", "conv1d", "conv2d", "conv3d", "conv_transpose2d.input", "linear", "matmul", "mm", "mv",
    "bmm", "addmm", "addmv", "addbmm", "baddbmm", "scaled_dot_product_attention", "lstm_cell", "gru_cell",
    "rnn_tanh_cell", "rnn_relu_cell",
)  # fmt: skip
HALF = ("lstm.input", "lstm.data", "gru.input", "gru.data")
FLOAT32 = (
    "ctc_loss.IntList", "ctc_loss.Tensor", "log_softmax.int", "softmax.int", "nll_loss", "nll_loss_nd",
    "cross_entropy_loss", "layer_norm", "group_norm", "pow.Tensor_Scalar", "exp", "log", "sum",
    "sum.dim_IntList", "prod", "cumsum", "norm.Scalar", "mse_loss", "l1_loss",
    "smooth_l1_loss", "kl_div", "cosine_similarity", "rsqrt", "reciprocal",
)  # fmt: skip
WIDEST = ("cat", "stack", "index_put", "addcmul", "addcdiv", "bilinear", "dot")


def _target(kind: str, args) -> torch.dtype:
    if kind == "lower":
        return torch.get_autocast_dtype("mlu")
    if kind == "widest":
        found = [t.dtype for t in torch.utils._pytree.tree_leaves(args) if isinstance(t, torch.Tensor)]
        return torch.float32 if torch.float32 in found else torch.get_autocast_dtype("mlu")
    return {"half": torch.float16, "float32": torch.float32}[kind]


def _casting(operator, kind: str):
    def run(*args, **kwargs):
        dtype = _target(kind, args)

        def cast(tensor):
            eligible = tensor.device.type == "mlu" and tensor.is_floating_point() and tensor.dtype != torch.float64
            return tensor.to(dtype) if eligible else tensor

        with torch._C._ExcludeDispatchKeyGuard(_KEY):
            args, kwargs = tree_map_only(torch.Tensor, cast, (args, kwargs))
            return operator(*args, **kwargs)

    return run


def register() -> None:
    """Install the casts; every other operator falls through."""
    _everything.fallback(fallthrough_kernel, "AutocastPrivateUse1")
    for kind, names in (("lower", LOWER), ("half", HALF), ("float32", FLOAT32), ("widest", WIDEST)):
        for name in names:
            packet, _, overload = name.partition(".")
            operator = getattr(getattr(torch.ops.aten, packet), overload or "default")
            _library.impl(operator, _casting(operator, kind), "AutocastPrivateUse1")
