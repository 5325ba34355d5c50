"""Read images with a trained recogniser: `python -m models.demo word.png --checkpoint best.pt`.

Prints, for each image, the raw path, the text and how sure it is: `a-----v--a-i-l-a-bb-l-ee-- => available  98.7 %`.
A folder is all images below it; `--csv out.csv` or `--json out.json` make a table instead of lines. The network, its
alphabet and the shape of its images are what the checkpoint says. In Python: models/reading/recogniser.py.
"""

from __future__ import annotations

if not __package__:  # `python models/demo.py`, from any folder: its own is on the path, and not the checkout
    __import__("sys").path.insert(0, __file__.rsplit("/", 2)[0])

import sys
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from PIL import Image

from bench.errors import UserError, one_line, run_cli
from bench.files import refuse_unwritable, write_file
from bench.options import Also, Bounds, Command, Metavar, Positional
from models.data.contact_sheet import contact_sheet
from models.reading.detection import EXTRA, LineDetector, draw_page, may_be_page
from models.reading.folder import (
    FilePage,
    FileReading,
    find_images,
    pages_of,
    read_files,
    readings_csv,
    readings_json,
    with_progress,
)
from models.reading.recogniser import Reading, Recogniser, find_trained, find_weights, refuse_other_recipe
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


WIDTH, ROW, HEIGHT = 948, 58, 32  # of a sheet, of a row and of an image in it, pixels
COLUMNS = 6, 3  # of words, of lines


def draw_reading_sheet(read: list[tuple[np.ndarray, str]]) -> Image.Image:
    """Images (H, W, C) side by side, and under each the text that it was read as; wide cells where one is wide."""
    words, lines = (WIDTH // columns for columns in COLUMNS)
    widest = max((array.shape[1] * HEIGHT / array.shape[0] for array, _ in read), default=0)
    cell = words if widest <= words * 1.5 else lines
    return contact_sheet(((fit_cell(array, cell - 8), text) for array, text in read), WIDTH, ROW, cell=cell)


def fit_cell(array: np.ndarray, most: int) -> Image.Image:
    """An image (H, W, C) as RGB, HEIGHT px high, and at most so many px wide."""
    image = Image.fromarray(array.squeeze(-1) if array.shape[2] == 1 else array)
    width = min(round(image.width * HEIGHT / image.height), most)
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
    """Images of single words or lines, or folders of them"""
    checkpoint: Annotated[Path | None, Also("weights")] = None
    """A best.pt, a .safetensors file of models.convert, or the name of shipped weights"""
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
    csv: Annotated[Path | None, Metavar("FILE.csv")] = None
    """Write a table there, a row an image, instead of printing lines"""
    json: Annotated[Path | None, Metavar("FILE.json")] = None
    """The same as JSON"""
    sheet: Annotated[Path | None, Metavar("FILE.png")] = None
    """Write all images there, their texts under them"""
    detect: bool = False
    """The images are whole photos or pages: find their lines, read each (requirements-detect.txt)"""
    views: bool = True
    """Read doubtful images again, narrower, wider or turned, and keep what is surest"""


COMMAND = Command("models.demo", DemoOptions, "word.png --show shown")


def main(argv: list[str] | None = None) -> None:
    options, given = COMMAND.parse_given(argv)
    refuse_other_recipe(options.checkpoint, options.recipe, given)
    for table, name in ((options.csv, "--csv"), (options.json, "--json")):
        if table:
            refuse_unwritable(table.parent, name)
    path = find_weights(options.checkpoint) if options.checkpoint else find_trained(options.recipe)
    files = find_images(options.images)
    print(f"weights: {path}", file=sys.stderr)
    reader = Recogniser.load(
        path, beam=options.beam, lexicon=options.lexicon, lexicon_penalty=options.lexicon_penalty, views=options.views
    )
    read_these = read_pages if options.detect else read_each
    end(read_these(files, reader, options), len(files))


def read_each(files: list[Path], reader: Recogniser, options: DemoOptions) -> int:
    """Each image is a word or a line. How many were not read."""
    read: list[FileReading] = []
    try:
        for one, drawing in zip(
            with_progress(read_files(reader, files), len(files)), drawing_names(files), strict=True
        ):
            show(one, drawing, options)
            read.append(one if options.sheet else replace(one, image=None))
    finally:  # a table of what was read until then, also when somebody ends it
        write_tables([one.row() for one in read], reader, options)
        write_sheet(read, options)
    hint_at_pages(read)
    hint_at_alphabet(read, reader.charset.characters)
    return sum(one.reading is None for one in read)


def read_pages(files: list[Path], reader: Recogniser, options: DemoOptions) -> int:
    """The lines of whole photos: printed with their places, in tables, drawn with --show. How many were not read."""
    if options.sheet:
        raise UserError("--sheet shows words; with --detect it is --show FOLDER that draws the pages")
    detector, rows, refused = LineDetector(), [], 0
    pages = with_progress(pages_of(reader, detector, files), len(files))
    try:
        for page, drawing in zip(pages, drawing_names(files), strict=True):
            rows += page.rows()
            refused += page.image is None
            show_page(page, drawing, options)
    finally:
        write_tables(rows, reader, options)
    return refused


def show_page(page: FilePage, drawing: str, options: DemoOptions) -> None:
    if page.image is None:
        print(one_line(f"{page.path}: not read: {page.error}"), file=sys.stderr, flush=True)
        return
    if not page.lines:
        print(one_line(f"{page.path}: no text was found in it"), file=sys.stderr, flush=True)
    for line in page.lines if not options.csv and not options.json else ():
        left, top = line.box.min(axis=0)
        print(one_line(f"{page.path} at {left:.0f},{top:.0f}: {line.text}  {line.confidence:.1%}"), flush=True)
    if options.show:
        options.show.mkdir(parents=True, exist_ok=True)
        draw_page(page.image, page.lines).save(options.show / drawing)


def hint_at_pages(read: list[FileReading]) -> None:
    """Say it once where images were read badly that may hold more than one word."""
    pages = [one.path for one in read if one.reading and may_be_page(*size_of(one.path), one.reading)]
    if pages:
        more = f" and {len(pages) - 1:,} more" if len(pages) > 1 else ""
        print(one_line(f"{pages[0]}{more}: read badly, and large enough to be a page or a photo with several words:"
                       f" --detect finds its lines first ({EXTRA})"), file=sys.stderr, flush=True)  # fmt: skip


UNREAD = 0.05  # of a text that can hardly be what is on the image


def hint_at_alphabet(read: list[FileReading], characters: str) -> None:
    """Say it once where images may show characters that these weights do not know."""
    unread = [one.path for one in read if one.reading and one.reading.confidence < UNREAD]
    if unread and characters.isascii():
        more = f" and {len(unread) - 1:,} more" if len(unread) > 1 else ""
        print(one_line(f"{unread[0]}{more}: not likely to be right; these weights know {len(characters)} characters, "
                       f"{characters[:1]} to {characters[-1:]}: Chinese is --recipe crnn_small_chinese"),
              file=sys.stderr, flush=True)  # fmt: skip


def size_of(path: Path) -> tuple[int, int]:
    """Width and height of a file that was read, from its header."""
    with Image.open(path) as image:
        return image.size


def show(one: FileReading, drawing: str, options: DemoOptions) -> None:
    """Print a reading, or on stderr why there is none; draw it with --show."""
    if one.reading is None or one.image is None:
        print(one_line(f"{one.path}: not read: {one.error}"), file=sys.stderr, flush=True)
        return
    if not options.csv and not options.json:
        print(one_line(f"{one.path}: {format_reading(one.reading)}"), flush=True)
    if options.show:
        options.show.mkdir(parents=True, exist_ok=True)
        plot_reading(one.image, one.reading, options.show / drawing)


def write_tables(rows: list[dict[str, Any]], reader: Recogniser, options: DemoOptions) -> None:
    if options.csv:
        write_file(options.csv, readings_csv(rows))
    if options.json:
        write_file(options.json, readings_json(rows, reader))
    for table in filter(None, (options.csv, options.json)):
        print(f"{table}: {len(rows):,} rows", file=sys.stderr)


def write_sheet(read: list[FileReading], options: DemoOptions) -> None:
    seen = [(one.image, one.reading.text) for one in read if one.image is not None and one.reading]
    if options.sheet and seen:
        draw_reading_sheet(seen).save(options.sheet, "PNG")


def end(refused: int, total: int) -> None:
    """Exit code 0: all images were read; 1: not all; 2: none, as for a command that is wrong."""
    if refused == total:
        raise UserError(f"none of {total:,} images was read")
    if refused:
        print(f"models.demo: {refused:,} of {total:,} images were not read", file=sys.stderr, flush=True)
        sys.exit(1)


if __name__ == "__main__":
    run_cli(main, "models.demo")
