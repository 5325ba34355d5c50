"""How well texts were read: accuracies in named modes, 1-NED, CER, an interval, breakdowns and confusions.

Every number says in which mode it was taken, because half of the field's disputes over accuracy are about
case and punctuation: `exact`, `ignore_case`, or `alphanumeric` (ignore case, and every character that is
neither a letter nor a digit), which is how the benchmarks of scene text are reported.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from rapidfuzz.distance import Levenshtein

from bench.judging.statistics import wilson_interval
from models.data.text import JOINERS, compose, fold_case, is_mark

Group = TypeVar("Group", bound=Hashable)


def ignore_case(text: str) -> str:
    return fold_case(compose(text))


def alphanumeric(text: str) -> str:
    """Lower case, letters and digits only. Letters are Unicode's, with their marks: vowel signs, tones, accents."""
    return "".join(c for c in ignore_case(text) if c.isalnum() or is_mark(c)).lstrip(JOINERS)


MODES: dict[str, Callable[[str], str]] = {
    "exact": compose,
    "ignore_case": ignore_case,
    "alphanumeric": alphanumeric,
}


@dataclass(frozen=True)
class Score:
    """What a set of readings is worth. Shares are in 0..1 (a CER may exceed 1); nan without readings.

    Truths of which the mode leaves nothing ("---" in alphanumeric) are left out of all of it, as the field does:
    reading nothing would be right.
    """

    n: int
    left_out: int  # truths of which the mode leaves nothing
    mode: str  # of correct, word_accuracy, one_minus_ned, cer, character_precision and sequence_distance
    correct: int
    word_accuracy: float
    exact_accuracy: float
    ignore_case_accuracy: float
    one_minus_ned: float  # ICDAR 2019: mean of 1 - edits / length of the longer text
    cer: float  # edits of the whole set / characters of its truths
    character_precision: float  # CRNN_Tensorflow's: mean share of characters found at their place
    sequence_distance: float  # CRNN_Tensorflow's: mean of edits / length of the truth

    @property
    def interval(self) -> tuple[float, float]:
        """Where the word accuracy of this recogniser lies with 95 % confidence."""
        return wilson_interval(self.correct, self.n)


def score(truths: Sequence[str], texts: Sequence[str], mode: str = "alphanumeric") -> Score:
    """Compare readings with truths, pair by pair. ValueError: their numbers differ, or an unknown mode."""
    fold = make_fold(mode)
    if len(truths) != len(texts):
        raise ValueError(f"{len(truths)} truths but {len(texts)} texts: each image needs one of each")
    counted = [i for i, truth in enumerate(truths) if fold(truth)]
    truths, texts, left_out = [truths[i] for i in counted], [texts[i] for i in counted], len(truths) - len(counted)
    pairs = [(fold(truth), fold(text)) for truth, text in zip(truths, texts, strict=True)]
    edits = [Levenshtein.distance(*pair) for pair in pairs]
    matched = {name: equals(truths, texts, other) for name, other in MODES.items()}
    return Score(
        n=len(pairs),
        left_out=left_out,
        mode=mode,
        correct=sum(matched[mode]),
        word_accuracy=mean_or_nan(matched[mode]),
        exact_accuracy=mean_or_nan(matched["exact"]),
        ignore_case_accuracy=mean_or_nan(matched["ignore_case"]),
        one_minus_ned=mean_or_nan(1 - over(d, max(map(len, pair))) for d, pair in zip(edits, pairs, strict=True)),
        cer=over(sum(edits), sum(len(truth) for truth, _ in pairs)) if pairs else math.nan,
        character_precision=mean_or_nan(in_place(*pair) for pair in pairs),
        sequence_distance=mean_or_nan(over(d, len(truth)) for d, (truth, _) in zip(edits, pairs, strict=True)),
    )


def make_fold(mode: str) -> Callable[[str], str]:
    if mode not in MODES:
        raise ValueError(f"no comparison is called {mode!r}; there are {', '.join(MODES)}")
    return MODES[mode]


def equals(truths: Iterable[str], texts: Iterable[str], fold: Callable[[str], str]) -> list[bool]:
    return [fold(truth) == fold(text) for truth, text in zip(truths, texts, strict=True)]


def mean_or_nan(values: Iterable[float]) -> float:
    values = list(values)
    return sum(values) / len(values) if values else math.nan


def over(edits: int, length: int) -> float:
    """Edits per character. Against an empty truth nothing is right (0), and each character one whole edit."""
    return edits / max(length, 1)


def read_right(truths: Sequence[str], texts: Sequence[str], mode: str) -> list[int]:
    """1 for each text that is its truth, as the mode compares them; else 0. Without those that `score` leaves out."""
    fold = make_fold(mode)
    return [int(fold(truth) == fold(text)) for truth, text in zip(truths, texts, strict=True) if fold(truth)]


def in_place(truth: str, text: str) -> float:
    if not truth:
        return float(not text)
    return sum(a == b for a, b in zip(truth, text, strict=False)) / len(truth)


def breakdown(
    groups: Sequence[Group], truths: Sequence[str], texts: Sequence[str], mode: str = "alphanumeric"
) -> dict[Group, Score]:
    """A score for each group (a set's name, a kind of image), in the order in which groups first appear."""
    members: dict[Group, list[int]] = {}
    for i, group in enumerate(groups):
        members.setdefault(group, []).append(i)
    return {g: score([truths[i] for i in m], [texts[i] for i in m], mode) for g, m in members.items()}


def by_length(truths: Sequence[str], texts: Sequence[str], mode: str = "alphanumeric") -> dict[int, Score]:
    """A score for each length of truth (as the mode counts characters), shortest first."""
    fold = make_fold(mode)
    found = breakdown([len(fold(truth)) for truth in truths], truths, texts, mode)
    return {length: part for length, part in sorted(found.items()) if part.n}


def confusions(truths: Sequence[str], texts: Sequence[str], mode: str = "exact") -> Counter[tuple[str, str]]:
    """How often (written, read) were confused; '' is read for a lost, written for an invented one."""
    fold = make_fold(mode)
    found: Counter[tuple[str, str]] = Counter()
    for truth, text in zip(truths, texts, strict=True):
        truth, text = fold(truth), fold(text)
        for kind, i, j in Levenshtein.editops(truth, text).as_list():
            found["" if kind == "insert" else truth[int(i)], "" if kind == "delete" else text[int(j)]] += 1
    return found


def worst(
    truths: Sequence[str], texts: Sequence[str], confidences: Sequence[float], mode: str = "alphanumeric"
) -> list[int]:
    """Indices of the wrong readings: most edits first, among equals the most confident mistake first."""
    fold = make_fold(mode)
    pairs = [(fold(truth), fold(text)) for truth, text in zip(truths, texts, strict=True)]
    edits = [Levenshtein.distance(*pair) if pair[0] else 0 for pair in pairs]
    return sorted((i for i, d in enumerate(edits) if d), key=lambda i: (-edits[i], -confidences[i]))
