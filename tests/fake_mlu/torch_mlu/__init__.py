"""A stand-in for Cambricon's torch_mlu in pure Python: device "mlu" on a machine that has none.

Used only by tests, in processes started with `PYTHONPATH=tests/fake_mlu`; the product imports `torch_mlu`
when it is there and knows nothing of this one. Written for torch 2.13, whose
`_setup_privateuseone_for_python_backend` makes it possible. `__version__` contains `+fake`, so that no
record made on it passes for hardware. docs/mlu.md says what it proves and what it cannot.
"""

import os
import sys

import torch

from . import cards

__version__ = f"0.0.0+fake.torch{torch.__version__.split('+')[0]}"

if cards.driver() == "unloadable":
    raise OSError("libcndev.so: cannot open shared object file: No such file or directory (stand-in)")

if not hasattr(torch, "mlu"):
    from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

    from . import amp, autocast, cncl, device, kernels, multiply, recurrent, storage

    device.amp = amp
    _setup_privateuseone_for_python_backend("mlu", backend_module=device)
    torch.version.mlu = None  # as in torch_mlu 2.3 and 2.4: no way to detect the library
    for part in (kernels, recurrent, autocast, multiply, storage, cncl):
        part.register()
    sys.modules["torch.mlu.amp"] = amp
    # torch's Python device guard knows one device, so the engine's threads would refuse mlu:1.
    torch.autograd.set_multithreading_enabled(False)

if os.environ.get("FAKE_MLU_TORCH") == "2.1":
    del torch.amp.GradScaler  # torch.amp has one since 2.3
