"""A network as one ONNX file. Batch and width stay free.

What a reader needs beside the network is in the file's metadata: alphabet, shape of the images and how to normalise
them, what the outputs are.
"""

from __future__ import annotations

import importlib.util
import json
import warnings
from dataclasses import asdict
from pathlib import Path

import torch
from torch import Tensor, nn

from bench.errors import UserError
from models.network.network import Network

OPSET = 16  # the first with grid_sample, which rectification needs
WIDTH = 100  # px of the image that is traced


class BatchFirst(nn.Module):
    """A network whose logits are (N, T, classes), for servers that cut batches along the first dimension."""

    def __init__(self, network: Network):
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return self.network(images).transpose(0, 1)


def export(network: Network, path: Path, characters: str, batch_first: bool = False) -> Path:
    """Write `network`, in evaluation mode: input `images` (N, channels, height, W), output `logits` (T, N, classes).

    batch_first: the logits are (N, T, classes). UserError when the package `onnx` is missing.
    """
    need_onnx()
    image = torch.zeros(2, network.channels, network.height, WIDTH, device=next(network.parameters()).device)
    logits = {int(batch_first): "steps", int(not batch_first): "batch"}
    axes = {"images": {0: "batch", 3: "width"}, "logits": logits}
    training = network.training
    network.eval()
    traced = BatchFirst(network).eval() if batch_first else network
    with warnings.catch_warnings():  # of constants in the traced graph: the tests compare other batches and widths
        warnings.simplefilter("ignore")
        torch.onnx.export(
            traced, (image,), str(path), input_names=["images"], output_names=["logits"], dynamic_axes=axes,
            opset_version=OPSET, **exporter_options(),
        )  # fmt: skip
    network.train(training)
    write_metadata(path, metadata(network, characters, batch_first))
    return path


def exporter_options() -> dict:
    """The tracing exporter by its name, where torch has two (2.5 on); the other one has no free widths for LSTMs."""
    version = tuple(int(part) for part in torch.__version__.split(".")[:2])
    return {"dynamo": False} if version >= (2, 5) else {}


def metadata(network: Network, characters: str, batch_first: bool = False) -> dict[str, str]:
    return {
        "characters": characters,  # character i is class i + 1
        "class_0": "blank" if network.head.decoder == "greedy" else "end",
        "decoder": network.head.decoder,
        "logits": "pictures, steps, classes" if batch_first else "steps, pictures, classes",
        "opset": str(OPSET),
        "height_px": str(network.height),
        "channels": str(network.channels),
        "minimum_width_px": str(network.minimum_width),
        "normalisation": "x / 127.5 - 1",
        "model": json.dumps(asdict(network.model)),
    }


def need_onnx() -> None:
    """Before anything is traced: torch itself fails without the package, by another exception in each version."""
    if importlib.util.find_spec("onnx") is None:
        raise UserError("ONNX files need the package onnx: pip install -r requirements-extra.txt")


def write_metadata(path: Path, properties: dict[str, str]) -> None:
    import onnx

    content = onnx.load(str(path))
    onnx.helper.set_model_props(content, properties)
    onnx.save(content, str(path))
