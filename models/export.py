"""A recogniser as one ONNX file: `python -m models.export --checkpoint best.pt --out crnn.onnx`.

Batch and width stay free. What a reader needs beside the network is in the file's metadata: alphabet, shape of the
pictures and how to normalise them, what the outputs are.
"""

from __future__ import annotations

import json
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from bench.refusal import Refusal, answer
from models import checkpoint
from models.charset import Charset
from models.options import Infer, checkpoint_root, parse
from models.recogniser import Recogniser, build

OPSET = 16  # the first with grid_sample, which rectification needs
WIDTH = 100  # px of the picture that is traced


@dataclass
class Export(Infer):
    """Write a recogniser as ONNX."""

    out: Path = Path("recogniser.onnx")


def export(network: Recogniser, path: Path, characters: str) -> Path:
    """Write `network`, in evaluation mode: input `images` (N, channels, height, W), output `logits` (T, N, classes).

    Refusal when the package `onnx` is missing.
    """
    picture = torch.zeros(2, network.channels, network.height, WIDTH, device=next(network.parameters()).device)
    axes = {"images": {0: "batch", 3: "width"}, "logits": {0: "steps", 1: "batch"}}
    training = network.training
    with warnings.catch_warnings():  # of constants in the traced graph: the tests compare other batches and widths
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network.eval(), (picture,), str(path), input_names=["images"], output_names=["logits"],
            dynamic_axes=axes, opset_version=OPSET, **exporter(),
        )  # fmt: skip
    network.train(training)
    annotate(path, metadata(network, characters))
    return path


def exporter() -> dict:
    """The tracing exporter by its name, where torch has two (2.5 on); the other one has no free widths for LSTMs."""
    version = tuple(int(part) for part in torch.__version__.split(".")[:2])
    return {"dynamo": False} if version >= (2, 5) else {}


def metadata(network: Recogniser, characters: str) -> dict[str, str]:
    return {
        "characters": characters,  # character i is class i + 1
        "class_0": "blank" if network.head.decoder == "greedy" else "end",
        "decoder": network.head.decoder,
        "height_px": str(network.height),
        "channels": str(network.channels),
        "minimum_width_px": str(network.minimum_width),
        "normalisation": "x / 127.5 - 1",
        "model": json.dumps(asdict(network.model)),
    }


def annotate(path: Path, properties: dict[str, str]) -> None:
    try:
        import onnx
    except ImportError:
        raise Refusal("ONNX files need the package onnx: pip install -r requirements-extra.txt") from None
    content = onnx.load(str(path))
    onnx.helper.set_model_props(content, properties)
    onnx.save(content, str(path))


def main(argv: list[str] | None = None) -> None:
    options = parse(Export, argv, "models.export", example="--checkpoint best.pt --out crnn.onnx")
    charset = Charset.named(options.data.charset)
    network = build(options.model, charset.classes, options.data.height, options.data.channels)
    path = options.checkpoint or checkpoint.newest_best(checkpoint_root(options), options.recipe)
    if not path:
        raise Refusal("no trained checkpoint; train one, or pass --checkpoint FILE")
    checkpoint.load_network(network, checkpoint.read(path), path, charset.characters, options.recipe)
    print(f"{export(network, options.out, charset.characters)}: {path} with {charset.classes} classes")


if __name__ == "__main__":
    answer(main, "models.export")
