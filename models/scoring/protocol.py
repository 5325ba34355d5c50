"""How well a test went, as the record keeps it and as a person reads it: in all, by set, by length, by character."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict

from tabulate import tabulate

from models.data.source import Source
from models.scoring.evaluate import Read
from models.scoring.metrics import Score, breakdown, by_length, confusions, score
from models.scoring.sets import names_of, sets_of

CONFUSIONS = 30  # pairs kept, the commonest


def accuracy_section(reads: Sequence[Read], source: Source, split: str, method: str, mode: str) -> dict:
    """The record's accuracy. Over several sets the whole is their mean, each set weighing as many as it has words."""
    truths, texts = [one.truth for one in reads], [one.text for one in reads]
    whole = score(truths, texts, mode)
    return {
        "split": split,
        "method": method,
        **row(whole),
        "sets": set_rows(reads, source, mode),
        "by_length": [{"length": length, **short(part)} for length, part in by_length(truths, texts, mode).items()],
        "confusions": [
            {"written": written, "read": read, "count": count}
            for (written, read), count in confusions(truths, texts, mode).most_common(CONFUSIONS)
        ],
    }


def set_rows(reads: Sequence[Read], source: Source, mode: str) -> list[dict]:
    """A row for each set, one of which nothing could be read included."""
    places = sets_of(source, [one.number for one in reads]).tolist()
    found = breakdown(places, [one.truth for one in reads], [one.text for one in reads], mode)
    nothing = score([], [], mode)
    return [{"name": name, **row(found.get(place, nothing))} for place, name in enumerate(names_of(source))]


def row(part: Score) -> dict:
    """A score as JSON has it: what nobody could measure is null."""
    low, high = part.interval
    fields = {**asdict(part), "word_accuracy_low": low, "word_accuracy_high": high}
    return {key: None if isinstance(value, float) and math.isnan(value) else value for key, value in fields.items()}


def short(part: Score) -> dict:
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
    "words read %": lambda r: percent(r["word_accuracy"]),
    "95 % between": lambda r: f"{percent(r['word_accuracy_low'])} and {percent(r['word_accuracy_high'])}",
    "exact %": lambda r: percent(r["exact_accuracy"]),
    "1-NED": lambda r: decimal(r["one_minus_ned"]),
    "CER": lambda r: decimal(r["cer"]),
    "characters %": lambda r: percent(r["character_precision"]),
    "distance": lambda r: decimal(r["sequence_distance"]),
}


def percent(share: float | None) -> str:
    return "" if share is None else f"{share:.2%}".rstrip("%")


def decimal(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def rows(accuracy: dict) -> list[tuple[str, list[str]]]:
    """Name and cells of each set and, when there are several, of all, each set weighing as many as it has words."""
    named = [(one["name"], one) for one in accuracy["sets"]]
    if len(named) > 1:
        named.append(("weighted mean", accuracy))
    return [(name, [show(one) for show in COLUMNS.values()]) for name, one in named]


def table(accuracy: dict) -> str:
    aligned = ["left", *["right"] * len(COLUMNS)]
    cells = [[name, *shown] for name, shown in rows(accuracy)]
    return tabulate(cells, ["set", *COLUMNS], colalign=aligned, disable_numparse=True)
