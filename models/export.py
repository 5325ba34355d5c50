"""A recogniser for other programs: `python -m models.export --checkpoint best.pt --out crnn.onnx`.

The ONNX file has a free batch and width, and says in its metadata how to use it. It is run here at once, by every
runtime that is installed, and must read what torch reads; the same for INT8, and for the file in a Triton repository.
"""

from __future__ import annotations

if not __package__:  # `python models/export.py`, from any folder: its own is on the path, and not the checkout
    __import__("sys").path.insert(0, __file__.rsplit("/", 2)[0])

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from torch import Tensor

from bench.errors import UserError, run_cli
from bench.files import warn
from bench.options import Also, Command
from models.data.charset import Charset
from models.data.image import UnreadableError
from models.dataset import normalise
from models.decoding.decoder import Decoder
from models.engines.onnx_file import WIDTH, export
from models.engines.quantise import quantise
from models.engines.table import RUNTIMES, TOLERANCE
from models.engines.triton import write_repository
from models.engines.typical import calibration_images, comparison_images
from models.network.network import Network
from models.reading.folder import find_images
from models.reading.recogniser import Recogniser, find_trained, refuse_other_recipe


@dataclass
class ExportOptions:
    """Write a recogniser as ONNX, check that it reads what torch reads, and more forms of it where they are asked."""

    checkpoint: Annotated[Path | None, Also("weights")] = None
    """A best.pt, a .safetensors file, or the name of shipped weights; default: the newest best.pt of the recipe, else
    the shipped weights"""
    recipe: str = "crnn"
    """Without --checkpoint: whose"""
    checkpoints: Path | None = None
    """Where to look for it; default: $PYTORCH_TRAIN_CHECKPOINT, else checkpoints/"""
    out: Path = Path("recogniser.onnx")
    int8: Path | None = None
    """Also write this ONNX file, its convolutions in INT8"""
    triton: Path | None = None
    """Also write a model repository for Triton Inference Server into this folder"""
    torch_export: Path | None = None
    """Also write torch.export's program (.pt2), for batches of any size, 100 px wide"""
    pictures: Annotated[Path | None, Also("images")] = None
    """A folder of images to check with, and for INT8 to see what images are like; default: drawn words"""


COMMAND = Command("models.export", ExportOptions, "--checkpoint best.pt --out crnn.onnx")


def image_batches(reader: Recogniser, folder: Path | None) -> Iterator[Tensor]:
    """Batches of normalised images (N, C, H, W), each of one width."""
    if folder is None:
        yield normalise_images(comparison_images(reader.shape))
        return
    rows = list(readable_rows(reader, folder))
    for width in sorted({row.shape[1] for row in rows}):
        yield normalise_images(np.stack([row for row in rows if row.shape[1] == width]).transpose(0, 3, 1, 2))


def readable_rows(reader: Recogniser, folder: Path) -> Iterator[np.ndarray]:
    """Images (H, W, C) as the network sees them; a bad one is named and passed over. UserError where all are."""
    paths, unread = find_images([folder]), 0
    for path in paths:
        try:
            yield reader.prepare(path)
        except UnreadableError as error:
            warn(f"{error}; not compared")
            unread += 1
    if unread == len(paths):
        raise UserError(f"{folder}: none of {len(paths):,} images can be read")


def normalise_images(images: np.ndarray) -> Tensor:
    return normalise(torch.from_numpy(images), torch.device("cpu"))


@dataclass
class Agreement:
    """What a runtime made of a file, against torch."""

    runtime: str
    difference: float = 0.0  # largest, of logits
    same: int = 0  # texts
    n: int = 0

    def __str__(self) -> str:
        return f"  {self.runtime}: {self.same} of {self.n} texts as torch, logits within {self.difference:.2g}"


@torch.inference_mode()
def compare_runtime(
    runtime: str, run: Callable[[np.ndarray], np.ndarray], network: Network, charset: Charset, batches: list[Tensor]
) -> Agreement:
    """Run an exported file by `run`, which a row of RUNTIMES made. Raises UserError as the network does."""
    found = Agreement(runtime)
    for images in batches:
        expected, logits = network(images), torch.from_numpy(run(images.contiguous().numpy()))
        texts = [Decoder(charset, network.model.head)(y).texts for y in (expected, logits)]
        found.difference = max(found.difference, float((expected - logits).abs().max()))
        found.same += sum(a == b for a, b in zip(*texts, strict=True))
        found.n += len(images)
    return found


def check_runtimes(content: bytes, reader: Recogniser, batches: list[Tensor], exact: bool = True) -> None:
    """Say how each runtime here reads the file. Raises UserError when one computes something else than torch."""
    for runtime in RUNTIMES:
        try:
            run = RUNTIMES[runtime](content, None)
        except UserError:  # no such package
            print(f"  {runtime}: not installed, not checked")
            continue
        found = compare_runtime(runtime, run, reader.network.network, reader.charset, batches)
        print(found)
        if exact and not (found.difference <= TOLERANCE[None] and found.same == found.n):
            raise UserError(f"{runtime} does not compute what torch does with this file; please report it")


def export_program(network: Network, path: Path) -> Path:
    """torch.export's program of the network, for any batch of images 100 px wide. Raises UserError."""
    if not hasattr(torch.export, "Dim"):
        raise UserError(f"torch.export for any batch is of torch 2.2 and later; this is {torch.__version__}")
    image = torch.zeros(2, network.channels, network.height, WIDTH)
    shapes = {"images": {0: torch.export.Dim("batch", min=1, max=4096)}, "widths": None, "targets": None}
    try:
        program = torch.export.export(network, (image, None, None), dynamic_shapes=shapes, strict=False)
    except (RuntimeError, ValueError, torch._dynamo.exc.TorchDynamoException) as error:
        raise UserError(f"torch.export does not carry this network: {' '.join(str(error).split())[:160]}") from None
    torch.export.save(program, path)
    return path


def main(argv: list[str] | None = None) -> None:
    options, given = COMMAND.parse_given(argv)
    refuse_other_recipe(options.checkpoint, options.recipe, given)
    if find_spec("onnx") is None:
        raise UserError("export needs onnx: pip install -r requirements-extra.txt")
    for path in filter(None, (options.out, options.int8, options.torch_export)):
        path.parent.mkdir(parents=True, exist_ok=True)
    reader = Recogniser.load(options.checkpoint or find_trained(options.recipe, options.checkpoints), device="CPU")
    network, characters = reader.network.network, reader.charset.characters
    batches = list(image_batches(reader, options.pictures))
    print(f"{export(network, options.out, characters)}: {reader.source} with {reader.charset.classes} classes")
    check_runtimes(options.out.read_bytes(), reader, batches)
    if options.int8:
        seen = max(batches, key=len) if options.pictures else normalise_images(calibration_images(reader.shape))
        options.int8.write_bytes(quantise(network, seen, characters))
        print(f"{options.int8}: convolutions in INT8")
        check_runtimes(options.int8.read_bytes(), reader, batches, exact=False)
    if options.triton:
        print(f"{write_repository(network, options.triton, options.out.stem, characters)}: for tritonserver")
    if options.torch_export:
        print(f"{export_program(network, options.torch_export)}: torch.export")


if __name__ == "__main__":
    run_cli(main, "models.export")
