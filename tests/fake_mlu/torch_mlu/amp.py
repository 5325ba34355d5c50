"""`torch.mlu.amp`: deprecated since torch_mlu 2.4, and all that torch 2.1 has."""

import functools

import torch
from torch.amp.grad_scaler import GradScaler as _GradScaler

autocast = functools.partial(torch.autocast, "mlu")


class GradScaler(_GradScaler):
    """torch's scaler on `mlu`; takes `torch.cuda.amp.GradScaler`'s arguments."""

    def __init__(self, *args, **kwargs) -> None:
        super().__init__("mlu", *args, **kwargs)
