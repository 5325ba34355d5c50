"""A model repository for Triton Inference Server: the ONNX file, how to batch it, and its alphabet."""

from __future__ import annotations

from pathlib import Path

from models.engines.onnx_file import export
from models.network.network import Network

BATCH = 64  # images at most
DELAY = 2000  # us that an image may wait for others

CONFIG = """\
name: "{name}"
backend: "onnxruntime"
max_batch_size: {batch}
input [{{ name: "images" data_type: TYPE_FP32 dims: [ {channels}, {height}, -1 ] }}]
output [{{ name: "logits" data_type: TYPE_FP32 dims: [ -1, {classes} ] }}]
dynamic_batching {{ max_queue_delay_microseconds: {delay} }}
"""


def write_repository(network: Network, folder: Path, name: str, characters: str) -> Path:
    """Write FOLDER/NAME with config.pbtxt, 1/model.onnx (logits (N, T, classes)) and characters.txt, one a line.

    Triton batches requests of equal width. Line i of characters.txt is class i; class 0 is CTC's blank or the end.
    """
    path = folder / name
    (path / "1").mkdir(parents=True, exist_ok=True)
    export(network, path / "1" / "model.onnx", characters, batch_first=True)
    (path / "characters.txt").write_text("\n" + "".join(f"{c}\n" for c in characters), encoding="utf-8")
    shape = {"channels": network.channels, "height": network.height, "classes": network.classes}
    (path / "config.pbtxt").write_text(CONFIG.format(name=name, batch=BATCH, delay=DELAY, **shape), encoding="utf-8")
    return path
