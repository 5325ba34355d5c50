"""Labels that CTC cannot learn, found before training instead of becoming an infinite loss in it."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from models.charset import Charset
from models.data.source import DataError, Source

KINDS = {
    "empty": "empty labels",
    "foreign": "labels with characters outside the charset",
    "long": "labels that do not fit in the time steps",
    "broken": "labels that cannot be read",
}


@dataclass
class Unfit:
    """Sample numbers by what is wrong with their labels, and one example of each kind."""

    time_steps: int
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
        return f"T = {self.time_steps}: " + ("; ".join(parts) or "every label fits")


def steps_needed(text: str) -> int:
    """Time steps that CTC needs: one a character, and a blank between two equal neighbours."""
    return len(text) + sum(a == b for a, b in pairwise(text))


def fault(text: str, charset: Charset, time_steps: int) -> str | None:
    """The kind of trouble a label is, or None."""
    if not text:
        return "empty"
    text = charset.normalise(text)
    if not charset.index.keys() >= set(text):
        return "foreign"
    return "long" if steps_needed(text) > time_steps else None


def find_unfit(source: Source, charset: Charset, time_steps: int) -> Unfit:
    unfit = Unfit(time_steps)
    for index in range(len(source)):
        try:
            text = source.label(index)
            kind = fault(text, charset, time_steps)
        except DataError as error:
            text, kind = str(error), "broken"
        if kind:
            unfit.found[kind].append(index)
            unfit.examples.setdefault(kind, f"{source.where(index)}: {text!r}")
    return unfit
