"""A page of the worst mistakes with their pictures: one HTML file that needs nothing else, and no script.

jinja2 escapes everything that labels, readings and file names say; the page itself forbids the network.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape
from PIL import Image
from rapidfuzz.distance import Levenshtein

from bench.errors import plain, printable
from models.dataset import WordDataset
from models.scoring.evaluate import Read
from models.scoring.metrics import worst
from models.scoring.protocol import COLUMNS, percent, rows

SHOWN = 200  # cards on a page: about half a megabyte

Piece = tuple[str, bool]  # some characters, and whether they are a mistake


@dataclass(frozen=True)
class Card:
    """One misread picture: a PNG in base64, both texts in pieces, where it is."""

    png: str
    truth: list[Piece]
    text: list[Piece]
    confidence: float
    where: str


def page(run: str, accuracy: dict, reads: Sequence[Read], data: WordDataset, shown: int = SHOWN) -> str:
    """The page as text. `accuracy` is the record's section; `reads` are all readings of `data`."""
    wrong = worst(
        [one.truth for one in reads],
        [one.text for one in reads],
        [one.confidence for one in reads],
        accuracy["mode"],
    )
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).resolve().parent),
        autoescape=True,
        finalize=printable,
        undefined=StrictUndefined,
        trim_blocks=True,
    )
    return environment.get_template("mistakes.html").render(
        run=run,
        accuracy=accuracy,
        wrong=len(wrong),
        columns=list(COLUMNS),
        rows=rows(accuracy),
        cards=[card(reads[i], data, accuracy["mode"]) for i in wrong[:shown]],
        percent=percent,
        marked=marked,
    )


def card(read: Read, data: WordDataset, mode: str) -> Card:
    truth, text = differences(read.truth, read.text, mode)
    return Card(picture(data, read.number), truth, text, read.confidence, data.source.where(read.number))


def picture(data: WordDataset, number: int) -> str:
    """The sample as the network sees it, without its padding, as a PNG in base64."""
    batch = data[number]
    pixels = batch.images[0, :, :, : int(batch.widths[0])].permute(1, 2, 0).numpy()
    file = io.BytesIO()
    Image.fromarray(pixels.squeeze(-1) if pixels.shape[2] == 1 else pixels).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode("ascii")


def differences(truth: str, text: str, mode: str) -> tuple[list[Piece], list[Piece]]:
    """Both texts in pieces: what they share, and what only one of them has. Case counts in the exact mode alone."""
    theirs, ours = [], []
    fold = str if mode == "exact" else str.lower
    for step in Levenshtein.opcodes([fold(c) for c in truth], [fold(c) for c in text]):
        wrong = step.tag != "equal"
        theirs.append((truth[step.src_start : step.src_end], wrong))
        ours.append((text[step.dest_start : step.dest_end], wrong))
    return [piece for piece in theirs if piece[0]], [piece for piece in ours if piece[0]]


def marked(pieces: list[Piece]) -> Markup:
    """Escaped text, its mistakes in <mark>."""
    shown = [(plain(some), wrong) for some, wrong in pieces]
    return Markup("").join(Markup("<mark>{}</mark>").format(some) if wrong else escape(some) for some, wrong in shown)
