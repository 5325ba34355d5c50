"""A network's convolutions in 8-bit integers: symmetric weights by channel, activations by the range that was seen.

Post-training static quantisation (Jacob et al. 2018, arXiv 1712.05877), written by ONNX Runtime as an ONNX file with
QuantizeLinear and DequantizeLinear around each convolution; recurrent and linear layers stay as they are. So does the
first convolution: it is a hundredth of the work, and rounding the image itself costs most (docs/performance.md).
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from torch import Tensor

from bench.errors import UserError
from models.engines.onnx_file import export
from models.network.network import Network

PIECE = 16  # images calibrated at a time


class CalibrationReader:
    """Feeds ONNX Runtime the images whose ranges it measures."""

    def __init__(self, images: Tensor):
        self.pieces: Iterator[Tensor] = iter(images.contiguous().cpu().split(PIECE))

    def get_next(self) -> dict | None:
        piece = next(self.pieces, None)
        return None if piece is None else {"images": piece.numpy()}


def quantise(network: Network, images: Tensor, characters: str) -> bytes:
    """An ONNX file like onnx_file.export's, its convolutions in INT8. images (N, C, H, W): varied ones, normalised.

    UserError when onnxruntime is missing.
    """
    try:
        from onnxruntime import quantization as q
        from onnxruntime.quantization.shape_inference import quant_pre_process
    except ImportError:
        raise UserError("INT8 needs the package onnxruntime: pip install -r requirements-extra.txt") from None
    with tempfile.TemporaryDirectory() as folder, quiet_root_logger():
        plain, folded, done = (Path(folder) / f"{name}.onnx" for name in ("plain", "folded", "int8"))
        quant_pre_process(str(export(network, plain, characters)), str(folded), skip_symbolic_shape=True)
        q.quantize_static(
            str(folded), str(done), CalibrationReader(images),
            quant_format=q.QuantFormat.QDQ, op_types_to_quantize=["Conv"],
            per_channel=True, activation_type=q.QuantType.QUInt8, weight_type=q.QuantType.QInt8,
            nodes_to_exclude=[first_convolution(folded)],
        )  # fmt: skip
        return done.read_bytes()


def first_convolution(path: Path) -> str:
    """The name of the backbone's first convolution in an ONNX file."""
    import onnx

    nodes = onnx.load(str(path)).graph.node
    return next(node.name for node in nodes if node.op_type == "Conv" and node.name.startswith("/backbone"))


@contextmanager
def quiet_root_logger():
    """ONNX Runtime advises, through the root logger, to do what is done already."""
    before = logging.root.level
    logging.root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logging.root.setLevel(before)
