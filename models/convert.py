"""Weights of other projects, and our checkpoints, to one .safetensors file.

python -m models.convert best.pt out.safetensors

It reads the layouts of models/weights/peers.py and checkpoints of models.train, of which it keeps the network, with
`weights_only=True`: no code in them runs. The result holds the weights by our names, the alphabet and the options that
build their network.
"""

from __future__ import annotations

if not __package__:  # `python models/convert.py`, from any folder: its own is on the path, and not the checkout
    __import__("sys").path.insert(0, __file__.rsplit("/", 2)[0])

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from bench.errors import UserError, run_cli
from bench.options import Command, Positional
from models.data.charset import Charset
from models.network.network import count_parameters
from models.weights import ShippedWeights, add_to_manifest, sha256_of
from models.weights.checkpoint import read, refuse_other, weights_of
from models.weights.file import Weights, halve, is_weights_file, load_weights, save_weights
from models.weights.peers import convert_peer
from models.weights.unpickle import find_tensors, read_file


@dataclass
class ConvertOptions:
    """Turn weights of this project or of a peer into one .safetensors file."""

    peer: Annotated[Path, Positional("PEER")]
    """The file of weights to read (.pth, .pt, .ckpt)"""
    out: Annotated[Path, Positional("OUT")]
    """The .safetensors file to write"""
    charset: str = "36"
    """A peer's: 36, 62, 94, or a file with the alphabet it knows"""
    half: bool = False
    """Matrices in float16: half the size, as those shipped"""
    manifest: Path | None = None
    """Add the file to this list of shipped weights, in its folder"""


COMMAND = Command("models.convert", ConvertOptions, "best.pt crnn.safetensors --half")


def main(argv: list[str] | None = None) -> None:
    options, given = COMMAND.parse_given(argv)
    saved = is_weights_file(options.peer)
    content = load_weights(options.peer) if saved else read_file(options.peer)
    if saved or (isinstance(content, dict) and "format" in content and "network" in content):
        content = content if saved else read(options.peer)
        if "charset" in given:
            refuse_other(content, options.peer, Charset.named(options.charset).characters)
        weights, charset = weights_of(content, options.peer)
    else:
        weights, charset = convert_peer(find_tensors(content, options.peer)), Charset.named(options.charset)
    if options.half:
        weights = dataclasses.replace(weights, state=halve(weights.state))
    save_weights(weights, charset, options.out)
    count, channels = count_parameters(weights.network()), weights.channels
    print(f"{options.out}: {weights.source}, {count:,} parameters, {weights.classes} classes, {channels} channel(s)")
    if options.manifest:
        ship(weights, charset, options.out, options.manifest)
        print(f"{options.out.stem} in {options.manifest}")


def ship(weights: Weights, charset: Charset, file: Path, manifest: Path) -> None:
    """List a file in a manifest beside it. Raises UserError: weights of no recipe, or a manifest elsewhere."""
    if weights.recipe is None:
        raise UserError(f"{file}: weights of no recipe of ours are not shipped")
    if file.resolve().parent != manifest.resolve().parent:
        raise UserError(f"{manifest} lists files of its own folder, and {file} is in another")
    widths = f"ratio kept, up to {weights.width} px" if weights.keep_ratio else f"squeezed to {weights.width} px"
    entry = ShippedWeights(file.name, sha256_of(file), weights.recipe, charset.characters, widths)
    add_to_manifest(file.stem, entry, manifest)


if __name__ == "__main__":
    run_cli(main, "models.convert")
