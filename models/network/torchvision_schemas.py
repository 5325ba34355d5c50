"""Let `import torchvision` succeed beside a torch that it was not compiled for.

torchvision's Python registers a fake kernel for `torchvision::nms` (and `qnms`) when it is imported. The
schemas of both come from its compiled half. Where that half does not load, as with a CPU torch beside a
torchvision made for CUDA, the import dies with "operator torchvision::nms does not exist". Everything this
project uses of torchvision (network weights, images in plain torch) needs neither operator, so their
schemas are declared here: only after the plain import has failed, so that a matching build keeps its own.
"""

from __future__ import annotations

import sys
from types import ModuleType

import torch

SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
declared: list[torch.library.Library] = []  # a library's schemas live as long as it does


def import_torchvision() -> ModuleType:
    """The torchvision module. Raises ImportError when it is not installed or fails for another reason."""
    try:
        import torchvision
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise ImportError(f"torchvision cannot be imported: {error}") from error
        declare()
        import torchvision
    module: ModuleType = torchvision
    return module


def declare() -> None:
    forget_half_imported()
    library = torch.library.Library("torchvision", "FRAGMENT")  # type: ignore[no-untyped-call]  # torch has no annotations here
    for schema in SCHEMAS:
        if not hasattr(torch.ops.torchvision, schema.partition("(")[0]):
            library.define(schema)  # type: ignore[no-untyped-call]  # nor here
    declared.append(library)


def forget_half_imported() -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[name]
