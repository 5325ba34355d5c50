"""Read images with a trained recogniser: `python -m models.demo word.png --checkpoint best.pt`.

Prints, for each image, the raw path, the text and how sure it is: `a-----v--a-i-l-a-bb-l-ee-- => available  98.7 %`.
The network, its alphabet and the shape of its images are what the checkpoint says. In Python:
models/reading/recogniser.py.
"""

from __future__ import annotations

if not __package__:  # `python models/demo.py`, from any folder: its own is on the path, and not the checkout
    __import__("sys").path.insert(0, __file__.rsplit("/", 2)[0])

import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from PIL import Image

from bench.errors import UserError, one_line, run_cli
from bench.options import Bounds, Command, Metavar, Positional
from models.data.contact_sheet import contact_sheet
from models.data.image import UnreadableError
from models.reading.recogniser import Reading, Recogniser, find_trained, refuse_other_recipe
from models.rendering.captions import caption_families


def format_reading(reading: Reading) -> str:
    raw = f"{reading.raw} => " if reading.raw else ""
    return f"{raw}{reading.text}  {reading.confidence:.1%}"


def plot_reading(image: np.ndarray, reading: Reading, path: Path) -> None:
    """Write the image with its text over it and, below, where each character was seen."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    families = caption_families(reading.text)
    figure, (above, below) = pyplot.subplots(2, 1, figsize=(8, 4), sharex=True, layout="constrained")
    extent = (0, image.shape[1], image.shape[0], 0)
    above.imshow(image.squeeze(-1) if image.shape[2] == 1 else image, cmap="gray", extent=extent, aspect="auto")
    above.set_title(f"{reading.text!r}  {reading.confidence:.1%}", parse_math=False, fontfamily=families)
    labels, seen = list(reading.text) or [" "], reading.seen if len(reading.seen) else np.zeros((1, 1))
    below.imshow(seen, cmap="viridis", aspect="auto", extent=(0, image.shape[1], len(labels), 0))
    below.set_yticks(np.arange(len(labels)) + 0.5, labels, parse_math=False, fontfamily=families)
    below.set_xlabel("px")
    figure.savefig(path, dpi=120)
    pyplot.close(figure)


COLUMNS, CELL, HEIGHT = 6, (158, 58), 32  # of a sheet: pixels of a cell, and of its image's height


def draw_reading_sheet(read: list[tuple[np.ndarray, str]]) -> Image.Image:
    """Images (H, W, C) side by side, and under each the text that it was read as."""
    return contact_sheet(((fit_cell(array), text) for array, text in read), COLUMNS * CELL[0], CELL[1], cell=CELL[0])


def fit_cell(array: np.ndarray) -> Image.Image:
    """An image (H, W, C) as RGB, HEIGHT px high, and no wider than a cell."""
    image = Image.fromarray(array.squeeze(-1) if array.shape[2] == 1 else array)
    width = min(round(image.width * HEIGHT / image.height), CELL[0] - 8)
    return image.resize((max(width, 1), HEIGHT), Image.Resampling.BICUBIC).convert("RGB")


def drawing_names(images: list[Path]) -> list[str]:
    """A file name for each image: not its own, in case they share a folder, nor that of another `word.png`."""
    times: Counter[str] = Counter()
    names = []
    for image in images:
        times[image.stem] += 1
        again = f"-{times[image.stem]}" if times[image.stem] > 1 else ""
        names.append(f"{image.stem}.read{again}.png")
    return names


@dataclass
class DemoOptions:
    """Read images with a trained recogniser."""

    images: Annotated[list[Path], Positional("IMAGE")]
    """Images of single words or lines"""
    checkpoint: Path | None = None
    """A .pt checkpoint or a .safetensors file of models.convert"""
    recipe: str = "crnn"
    """Without --checkpoint: its newest best one, else its shipped weights"""
    beam: Annotated[int | None, Bounds(1, 1000)] = None
    """CTC: search with this many prefixes"""
    lexicon: Path | None = None
    """A file of words, one of which each text is; "english": 39,561 that come with the repository"""
    lexicon_penalty: Annotated[float | None, Bounds(0)] = None
    """Nats by which a text outside the lexicon must be more probable to be kept; default: every text is a word of it"""
    show: Annotated[Path | None, Metavar("FOLDER")] = None
    """Write word.read.png there: what was seen where"""
    sheet: Annotated[Path | None, Metavar("FILE.png")] = None
    """Write all images there, their texts under them"""
    views: bool = True
    """Read doubtful images again, narrower, wider or turned, and keep what is surest"""


COMMAND = Command("models.demo", DemoOptions, "word.png --show shown")


def main(argv: list[str] | None = None) -> None:
    options, given = COMMAND.parse_given(argv)
    refuse_other_recipe(options.checkpoint, options.recipe, given)
    path = options.checkpoint or find_trained(options.recipe)
    print(f"weights: {path}", file=sys.stderr)
    reader = Recogniser.load(
        path, beam=options.beam, lexicon=options.lexicon, lexicon_penalty=options.lexicon_penalty, views=options.views
    )
    read, refused = [], 0
    for image, drawing in zip(options.images, drawing_names(options.images), strict=True):
        try:
            views = reader.prepare_views(image)
        except (UnreadableError, OSError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error).removeprefix(f"{image}: ")
            print(one_line(f"{image}: not read: {reason}"), file=sys.stderr, flush=True)
            refused += 1
            continue
        [reading] = reader.read_views([views], alternatives=0)
        prepared = next(view.image for view in views if view.turned == reading.turned)
        print(one_line(f"{image}: {format_reading(reading)}"))
        if options.show:
            options.show.mkdir(parents=True, exist_ok=True)
            plot_reading(prepared, reading, options.show / drawing)
        read.append((prepared, reading.text))
    if options.sheet and read:
        draw_reading_sheet(read).save(options.sheet, "PNG")
    if refused:
        raise UserError(f"{refused} of {len(options.images)} images were not read")


if __name__ == "__main__":
    run_cli(main, "models.demo")
