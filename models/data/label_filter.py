"""Labels that CTC cannot learn, found before training, where each would be an infinite loss.

Millions of labels are checked in a minute or so:
1. `find_label_issues` goes through the source in chunks. `suspects` narrows a chunk to the few labels that need a look,
   and `label_issue` decides on each of these alone, in plain Python.
2. `suspects` joins the labels of a chunk to one string and looks all characters up in one table of classes; class 0
   marks a character outside the charset. Only plain ASCII can go this way; other chunks are looked at label by label.
3. CTC needs a time step for each character and one more, for a blank, between two equal neighbours. Equal neighbours
   are found in the joined array; the first character of a label is excluded, its neighbour being another label's.
4. `count_between` turns marks on characters into counts a label: cumulative sums, subtracted at the labels' ends.
"""

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
    """Sample numbers by the kind of issue with their labels, and one example of each kind."""

    time_steps: int | np.ndarray  # for all, or for each sample
    characters: bool = False  # they are those that attention writes
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
        if self.characters:
            return f"up to {self.time_steps} characters (--model.longest): " + ("; ".join(parts) or "every label fits")
        steps = f"{np.min(self.time_steps)}" + f" to {np.max(self.time_steps)}" * (np.ndim(self.time_steps) > 0)
        steps += " time steps"
        return f"{steps}: " + ("; ".join(parts) or "every label fits")


def steps_needed(text: str) -> int:
    """Time steps that CTC needs: one a character, and a blank between two equal neighbours."""
    return len(text) + sum(a == b for a, b in pairwise(text))


def label_issue(text: str, charset: Charset, time_steps: int, characters: bool = False) -> str | None:
    """The kind of issue with a label, a key of KINDS, or None."""
    if not text:
        return "empty"
    text = charset.normalise(text)
    if not charset.index.keys() >= set(text):
        return "out_of_charset"
    return "long" if (len(text) if characters else steps_needed(text)) > time_steps else None


def find_label_issues(
    source: Source, charset: Charset, time_steps: int | np.ndarray, characters: bool = False
) -> LabelIssues:
    """Check every label: about 2 us each from an LMDB. characters: `time_steps` are those that attention writes."""
    issues = LabelIssues(time_steps, characters)
    steps = np.broadcast_to(time_steps, len(source))
    for begin in range(0, len(source), CHUNK):
        for index in suspects(source, begin, charset, steps[begin : begin + CHUNK]):
            try:
                text = source.label(index)
                kind = label_issue(text, charset, int(steps[index]), characters)
            except DataError as error:
                text, kind = str(error), "broken"
            if kind:
                issues.found[kind].append(index)
                if kind not in issues.examples:
                    issues.examples[kind] = f"{source.where(index)}: {text!r}"
    return issues


def suspects(source: Source, begin: int, charset: Charset, time_steps: np.ndarray) -> Iterable[int]:
    """Samples of a chunk whose labels may have an issue; all of them where the labels are not plain ASCII."""
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
    strange = count_between(classes == 0, ends - lengths, ends)
    repeats = np.concatenate([[False], classes[1:] == classes[:-1]])[: len(classes)]
    repeats[(ends - lengths)[lengths > 0]] = False  # a label's first character repeats nothing
    needed = lengths + count_between(repeats, ends - lengths, ends)
    found: list[int] = (begin + np.flatnonzero((lengths == 0) | (strange > 0) | (needed > time_steps))).tolist()
    return found


def count_between(marks: np.ndarray, begins: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Number of marks in each interval [begin, end)."""
    before = np.concatenate([[0], np.cumsum(marks)])
    counts: np.ndarray = before[ends] - before[begins]
    return counts
