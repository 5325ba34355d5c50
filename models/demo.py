"""Read pictures with a trained recogniser: `python -m models.demo word.png --checkpoint best.pt`.

Prints, for each picture, the raw path, the text and how sure it is: `a-----v--a-i-l-a-bb-l-ee-- => available  98.7 %`.
The network, its alphabet and the shape of its pictures are what the checkpoint says.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bench.refusal import Refusal, answer
from bench.reporting.text import one_line
from models import checkpoint
from models.charset import Charset
from models.data.image import Shape, resize
from models.data.image import decode as decode_picture
from models.data.source import UnreadableError
from models.decode import Decoded, best_path, raw_path
from models.model import Model
from models.parts.heads import Attention
from models.recogniser import Recogniser, build
from models.scoring.reading import GREEDY, Method


@dataclass
class Reader:
    """A recogniser with everything that turns a picture's file into its text."""

    network: Recogniser
    charset: Charset
    shape: Shape

    @classmethod
    def open(cls, path: Path) -> Reader:
        """From a checkpoint of this project or converted weights. Raises Refusal when it cannot be used."""
        content = checkpoint.trained(path, "data", "model")
        charset, data = Charset(content["charset"]), content["data"]
        try:
            shape = Shape(data["height"], data["width"], data["channels"], data.get("keep_ratio", False))
            model = Model(**{**content["model"], "pretrained": ""})
            network = build(model, charset.classes, shape.height, shape.channels)
        except (KeyError, TypeError, AttributeError) as error:
            raise Refusal(f"{path}: not a trained recogniser: {type(error).__name__} {error}") from None
        checkpoint.load_network(network, content, path, charset.characters)
        return cls(network.eval(), charset, shape)

    def picture(self, path: Path) -> np.ndarray:
        """uint8 (height, width, channels), as in training. Raises Refusal when the file holds no picture."""
        try:
            decoded = decode_picture(path.read_bytes(), self.shape.channels)
        except OSError as error:
            raise Refusal(f"{path}: {error.strerror}") from None
        except UnreadableError as error:
            raise Refusal(f"{path}: not a picture ({error})") from None
        width = self.shape.fitted(*decoded.shape[:2])
        return resize(decoded, self.shape.height, width).reshape(self.shape.height, width, -1)

    @torch.inference_mode()
    def read(self, picture: np.ndarray, method: Method = GREEDY) -> Reading:
        """uint8 (height, width, channels), of any width that the recogniser takes."""
        images = torch.from_numpy(picture.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1
        decoded = method(self.network, images, None, self.charset)
        features, steps = self.network.features(images)
        head = self.network.head
        if isinstance(head, Attention):
            return Reading(decoded, None, head.write(features, steps)[1][: len(decoded.texts[0]), 0])
        return Reading(decoded, best_path(head(features))[0][0], None)


@dataclass(frozen=True)
class Reading:
    """What a picture was read as: by CTC with its path (T,), by attention with its weights (characters, T)."""

    decoded: Decoded
    path: np.ndarray | None
    weights: Tensor | None

    @property
    def text(self) -> str:
        return self.decoded.texts[0]

    def line(self, charset: Charset) -> str:
        raw = "" if self.path is None else f"{raw_path(self.path, charset)} => "
        return f"{raw}{self.text}  {self.decoded.confidences[0]:.1%}"


def draw(picture: np.ndarray, reading: Reading, charset: Charset, path: Path) -> None:
    """Write the picture with its text over it and, below, where each character was seen."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (above, below) = pyplot.subplots(2, 1, figsize=(8, 4), sharex=True, layout="constrained")
    extent = (0, picture.shape[1], picture.shape[0], 0)
    above.imshow(picture.squeeze(-1) if picture.shape[2] == 1 else picture, cmap="gray", extent=extent, aspect="auto")
    above.set_title(f"{reading.text!r}  {reading.decoded.confidences[0]:.1%}", parse_math=False)
    labels, seen = alignment(reading, charset)
    below.imshow(seen, cmap="viridis", aspect="auto", extent=(0, picture.shape[1], len(labels), 0))
    below.set_yticks(np.arange(len(labels)) + 0.5, labels, parse_math=False)
    below.set_xlabel("px")
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


def alignment(reading: Reading, charset: Charset) -> tuple[list[str], np.ndarray]:
    """A row for each character, in reading order, and in it how much each column (T) has to do with it, 0 to 1."""
    if reading.weights is not None:
        rows = reading.weights.numpy()
        return list(reading.text)[: len(rows)] or [" "], rows if len(rows) else np.zeros((1, 1))
    starts = np.flatnonzero((reading.path != 0) & (reading.path != np.r_[0, reading.path[:-1]]))
    runs = np.cumsum(np.isin(np.arange(len(reading.path)), starts)) * (reading.path != 0)
    rows = (runs[None] == np.arange(1, len(starts) + 1)[:, None]).astype(float)
    labels = [charset.characters[c - 1] for c in reading.path[starts]]
    return (labels, rows) if labels else ([" "], np.zeros((1, len(reading.path))))


def drawings(images: list[Path]) -> list[str]:
    """A file name for each picture: not its own, in case they share a folder, nor that of another `word.png`."""
    times, names = Counter(), []
    for image in images:
        times[image.stem] += 1
        again = f"-{times[image.stem]}" if times[image.stem] > 1 else ""
        names.append(f"{image.stem}.read{again}.png")
    return names


def newest(recipe: str) -> Path:
    """The newest best checkpoint of a recipe. Raises Refusal when there is none."""
    from models.options import Common, checkpoint_root

    root = checkpoint_root(Common())
    found = checkpoint.newest_best(root, recipe)
    if found is None:
        raise Refusal(f"no trained checkpoint of '{recipe}' below {root}: train one, or pass --checkpoint FILE")
    return found


def arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="models.demo", description=__doc__.partition("\n")[0])
    parser.add_argument("images", nargs="+", type=Path, help="pictures of single words or lines")
    parser.add_argument("--checkpoint", type=Path, help="a .pt checkpoint or a .safetensors file of models.convert")
    parser.add_argument("--recipe", default="crnn", help="without --checkpoint: read with its newest best one")
    parser.add_argument("--beam", type=int, metavar="N", help="CTC: search with N prefixes")
    parser.add_argument("--lexicon", type=Path, help="a file of words, one of which each text is")
    parser.add_argument("--show", type=Path, metavar="FOLDER", help="write word.read.png there: what was seen where")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    options = arguments(sys.argv[1:] if argv is None else argv)
    reader = Reader.open(options.checkpoint or newest(options.recipe))
    method = Method.asked(reader.network.model, reader.charset, beam=options.beam, lexicon=options.lexicon)
    for path, drawing in zip(options.images, drawings(options.images), strict=True):
        picture = reader.picture(path)
        reading = reader.read(picture, method)
        print(one_line(f"{path}: {reading.line(reader.charset)}"))
        if options.show:
            options.show.mkdir(parents=True, exist_ok=True)
            draw(picture, reading, reader.charset, options.show / drawing)


if __name__ == "__main__":
    answer(main, "models.demo")
