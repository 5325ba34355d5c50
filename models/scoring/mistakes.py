"""A page of the worst mistakes with their images: one HTML file that needs nothing else, and no script.

jinja2 escapes everything that labels, readings and file names say; the page itself forbids the network.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup, escape
from PIL import Image
from rapidfuzz.distance import Levenshtein

from bench.errors import plain
from bench.reporting.templates import template_environment
from models.data.text import compose, fold_case
from models.dataset import WordDataset
from models.run.context import Context
from models.scoring.evaluate import Prediction
from models.scoring.metrics import worst
from models.scoring.protocol import COLUMNS, accuracy_rows, accuracy_table, format_percent

SHOWN = 200  # cards on a page: about half a megabyte

Piece = tuple[str, bool]  # some characters, and whether they are a mistake


@dataclass(frozen=True)
class Card:
    """One misread image: a PNG in base64, both texts in pieces, where it is."""

    png: str
    truth: list[Piece]
    text: list[Piece]
    confidence: float
    where: str


def report_accuracy(
    context: Context,
    run: str,
    accuracy: dict,
    predictions: Sequence[Prediction],
    data: WordDataset,
    path: Path | None,
) -> None:
    """Print how well each set was read and, with a path (--mistakes), write the page there."""
    context.say(accuracy_table(accuracy))
    if path and context.world.leads:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(mistakes_page(run, accuracy, predictions, data), encoding="utf8")
        context.say(f"mistakes: {path}")


def mistakes_page(
    run: str, accuracy: dict, predictions: Sequence[Prediction], data: WordDataset, shown: int = SHOWN
) -> str:
    """The page as text. `accuracy` is the record's section; `predictions` are those of all of `data`."""
    wrong = worst(
        [one.truth for one in predictions],
        [one.text for one in predictions],
        [one.confidence for one in predictions],
        accuracy["mode"],
    )
    return (
        template_environment(Path(__file__).resolve().parent)
        .get_template("mistakes.html")
        .render(
            run=run,
            accuracy=accuracy,
            wrong=len(wrong),
            columns=list(COLUMNS),
            rows=accuracy_rows(accuracy),
            cards=[make_card(predictions[i], data, accuracy["mode"]) for i in wrong[:shown]],
            percent=format_percent,
            marked=mark_mistakes,
        )
    )


def make_card(read: Prediction, data: WordDataset, mode: str) -> Card:
    truth, text = align_pieces(read.truth, read.text, mode)
    return Card(encode_image(data, read.number), truth, text, read.confidence, data.source.where(read.number))


def encode_image(data: WordDataset, number: int) -> str:
    """The sample as the network sees it, without its padding, as a PNG in base64."""
    batch = data[number]
    pixels = batch.images[0, :, :, : int(batch.widths[0])].permute(1, 2, 0).numpy()
    file = io.BytesIO()
    Image.fromarray(pixels.squeeze(-1) if pixels.shape[2] == 1 else pixels).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode("ascii")


def align_pieces(truth: str, text: str, mode: str) -> tuple[list[Piece], list[Piece]]:
    """Both texts in pieces: what they share, and what only one of them has. Case counts in the exact mode alone."""
    theirs, ours = [], []
    truth, text = compose(truth), compose(text)
    fold = str if mode == "exact" else fold_case
    for step in Levenshtein.opcodes([fold(c) for c in truth], [fold(c) for c in text]):
        wrong = step.tag != "equal"
        theirs.append((truth[step.src_start : step.src_end], wrong))
        ours.append((text[step.dest_start : step.dest_end], wrong))
    return [piece for piece in theirs if piece[0]], [piece for piece in ours if piece[0]]


def mark_mistakes(pieces: list[Piece]) -> Markup:
    """Escaped text, its mistakes in <mark>."""
    shown = [(plain(some), wrong) for some, wrong in pieces]
    return Markup("").join(Markup("<mark>{}</mark>").format(some) if wrong else escape(some) for some, wrong in shown)
