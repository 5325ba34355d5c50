"""How well a test went, as the record keeps it and as a person reads it: in all, by set, by length, by character."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict

from tabulate import tabulate

from models.data.source import Source
from models.scoring.evaluate import Prediction
from models.scoring.metrics import Score, breakdown, by_length, confusions, read_right, score
from models.scoring.sets import set_indices, set_names

CONFUSIONS = 30  # pairs kept, the commonest


def accuracy_section(predictions: Sequence[Prediction], source: Source, split: str, method: str, mode: str) -> dict:
    """The record's accuracy. Over several sets the whole is their mean, each set weighted by its number of words."""
    truths, texts = [one.truth for one in predictions], [one.text for one in predictions]
    whole = score(truths, texts, mode)
    return {
        "split": split,
        "method": method,
        **score_fields(whole),
        "right": read_right(truths, texts, mode),
        "sets": set_rows(predictions, source, mode),
        "by_length": [
            {"length": length, **accuracy_fields(part)} for length, part in by_length(truths, texts, mode).items()
        ],
        "confusions": [
            {"written": written, "read": read, "count": count}
            for (written, read), count in confusions(truths, texts, mode).most_common(CONFUSIONS)
        ],
    }


def set_rows(predictions: Sequence[Prediction], source: Source, mode: str) -> list[dict]:
    """A row for each set, also for one of which nothing could be read."""
    places = set_indices(source, [one.number for one in predictions]).tolist()
    found = breakdown(places, [one.truth for one in predictions], [one.text for one in predictions], mode)
    nothing = score([], [], mode)
    return [{"name": name, **score_fields(found.get(place, nothing))} for place, name in enumerate(set_names(source))]


def score_fields(part: Score) -> dict:
    """A score as JSON has it: what could not be measured is null."""
    low, high = part.interval
    fields = {**asdict(part), "word_accuracy_low": low, "word_accuracy_high": high}
    return {key: None if isinstance(value, float) and math.isnan(value) else value for key, value in fields.items()}


def accuracy_fields(part: Score) -> dict:
    low, high = part.interval
    return {
        "n": part.n,
        "correct": part.correct,
        "word_accuracy": part.word_accuracy,
        "word_accuracy_low": low,
        "word_accuracy_high": high,
    }


COLUMNS = {
    "n": lambda r: f"{r['n']:,}",
    "words read %": lambda r: format_percent(r["word_accuracy"]),
    "95 % between": lambda r: f"{format_percent(r['word_accuracy_low'])} and {format_percent(r['word_accuracy_high'])}",
    "exact %": lambda r: format_percent(r["exact_accuracy"]),
    "1-NED": lambda r: decimal(r["one_minus_ned"]),
    "CER": lambda r: decimal(r["cer"]),
    "characters %": lambda r: format_percent(r["character_precision"]),
    "distance": lambda r: decimal(r["sequence_distance"]),
}


def format_percent(share: float | None) -> str:
    return "" if share is None else f"{share:.2%}".rstrip("%")


def decimal(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def accuracy_rows(accuracy: dict) -> list[tuple[str, list[str]]]:
    """Name and cells of each set and, when there are several, of all, each set weighted by its number of words."""
    named = [(one["name"], one) for one in accuracy["sets"]]
    if len(named) > 1:
        named.append(("weighted mean", accuracy))
    return [(name, [show(one) for show in COLUMNS.values()]) for name, one in named]


def accuracy_table(accuracy: dict) -> str:
    aligned = ["left", *["right"] * len(COLUMNS)]
    cells = [[name, *shown] for name, shown in accuracy_rows(accuracy)]
    table = tabulate(cells, ["set", *COLUMNS], colalign=aligned, disable_numparse=True)
    if left_out := accuracy.get("left_out"):
        table += f"\n{left_out:,} more are not counted: --mode {accuracy['mode']} leaves nothing of their truths"
    return table
