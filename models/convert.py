"""Weights of other projects, and our checkpoints, to one .safetensors file.

python -m models.convert best.pt out.safetensors

It reads the layouts of models/weights/peers.py and checkpoints of models.train, of which it keeps the network, with
`weights_only=True`: no code in them runs. The result holds the weights by our names, the alphabet and the options that
build their network.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path

from bench.errors import UserError, run_cli
from models.data.charset import Charset
from models.network.network import parameters
from models.weights import ShippedWeights, add_to_manifest, sha256_of
from models.weights.checkpoint import weights_of
from models.weights.file import Weights, halve, is_weights_file, load_weights, save_weights
from models.weights.peers import convert_peer
from models.weights.unpickle import find_tensors, read_file


def arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="models.convert",
        description=__doc__.partition("\n")[0],
        epilog="example: python -m models.convert best.pt crnn.safetensors --half",
    )
    parser.add_argument("peer", type=Path, help="the file of weights to read (.pth, .pt, .ckpt)")
    parser.add_argument("out", type=Path, help="the .safetensors file to write")
    parser.add_argument("--charset", default="36", help="a peer's: 36, 62, 94, or a file with its alphabet")
    parser.add_argument("--half", action="store_true", help="matrices in float16: half the size, as those shipped")
    parser.add_argument("--manifest", type=Path, help="add the file to this list of shipped weights, in its folder")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    options = arguments(sys.argv[1:] if argv is None else argv)
    saved = is_weights_file(options.peer)
    content = load_weights(options.peer) if saved else read_file(options.peer)
    if saved or (isinstance(content, dict) and "format" in content and "network" in content):
        weights, charset = weights_of(content, options.peer)
    else:
        weights, charset = convert_peer(find_tensors(content, options.peer)), Charset.named(options.charset)
    if options.half:
        weights = dataclasses.replace(weights, state=halve(weights.state))
    save_weights(weights, charset, options.out)
    count, channels = parameters(weights.network()), weights.channels
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
