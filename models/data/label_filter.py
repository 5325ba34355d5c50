"""Labels that CTC cannot learn, found before training instead of becoming an infinite loss in it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from models.data.charset import Charset
from models.data.files import DataError
from models.data.source import Source

CHUNK = 1 << 16  # labels looked at together

KINDS = {
    "empty": "empty labels",
    "out_of_charset": "labels with characters outside the charset",
    "long": "labels that do not fit in the time steps",
    "broken": "labels that cannot be read",
}


@dataclass
class LabelIssues:
    """Sample numbers by what is wrong with their labels, and one example of each kind."""

    time_steps: int | np.ndarray  # for all, or for each sample
    found: dict[str, list[int]] = field(default_factory=lambda: {kind: [] for kind in KINDS})
    examples: dict[str, str] = field(default_factory=dict)

    @property
    def indices(self) -> np.ndarray:
        return np.array(sorted(i for numbers in self.found.values() for i in numbers), np.uint32)

    def __len__(self) -> int:
        return sum(map(len, self.found.values()))

    def __str__(self) -> str:
        """One line, as it is logged."""
        parts = [
            f"{len(numbers):,} {KINDS[kind]} ({self.examples[kind]})" for kind, numbers in self.found.items() if numbers
        ]
        steps = f"T = {np.min(self.time_steps)}" + f" to {np.max(self.time_steps)}" * (np.ndim(self.time_steps) > 0)
        return f"{steps}: " + ("; ".join(parts) or "every label fits")


def steps_needed(text: str) -> int:
    """Time steps that CTC needs: one a character, and a blank between two equal neighbours."""
    return len(text) + sum(a == b for a, b in pairwise(text))


def label_issue(text: str, charset: Charset, time_steps: int) -> str | None:
    """The kind of trouble a label is, or None."""
    if not text:
        return "empty"
    text = charset.normalise(text)
    if not charset.index.keys() >= set(text):
        return "out_of_charset"
    return "long" if steps_needed(text) > time_steps else None


def find_label_issues(source: Source, charset: Charset, time_steps: int | np.ndarray) -> LabelIssues:
    """Look at every label. Some 2 us each out of LMDB: most of a chunk is cleared at once."""
    unfit = LabelIssues(time_steps)
    steps = np.broadcast_to(time_steps, len(source))
    for begin in range(0, len(source), CHUNK):
        for index in suspects(source, begin, charset, steps[begin : begin + CHUNK]):
            try:
                text = source.label(index)
                kind = label_issue(text, charset, int(steps[index]))
            except DataError as error:
                text, kind = str(error), "broken"
            if kind:
                unfit.found[kind].append(index)
                unfit.examples.setdefault(kind, f"{source.where(index)}: {text!r}")
    return unfit


def suspects(source: Source, begin: int, charset: Charset, time_steps: np.ndarray) -> Iterable[int]:
    """The samples of a chunk whose labels need a look; all of it where its labels are not plain ASCII."""
    end = begin + len(time_steps)
    try:
        texts = source.texts(begin, end)
    except DataError:
        return range(begin, end)
    whole = "".join(texts)
    if not whole.isascii():
        return range(begin, end)
    classes = charset.ascii_classes[np.frombuffer(whole.encode(), np.uint8)]
    lengths = np.array(list(map(len, texts)))
    ends = np.cumsum(lengths)
    foreign = count_between(classes == 0, ends - lengths, ends)
    repeats = np.concatenate([[False], classes[1:] == classes[:-1]])[: len(classes)]
    repeats[(ends - lengths)[lengths > 0]] = False  # a label's first character repeats nothing
    needed = lengths + count_between(repeats, ends - lengths, ends)
    return (begin + np.flatnonzero((lengths == 0) | (foreign > 0) | (needed > time_steps))).tolist()


def count_between(marks: np.ndarray, begins: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """How many of the marks lie in each of the stretches."""
    before = np.concatenate([[0], np.cumsum(marks)])
    return before[ends] - before[begins]
