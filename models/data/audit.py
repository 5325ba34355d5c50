"""What is in a data set before anybody trains on it: the questions whose answers spoil a week when asked too late."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from hashlib import blake2b
from itertools import combinations

import numpy as np
from tqdm import tqdm

from models.data.charset import Charset
from models.data.digest import sample_digest, sum_digest
from models.data.files import DataError
from models.data.image import UPRIGHT, Shape, has_exif, orientation
from models.data.label_filter import KINDS, label_issue
from models.data.parallel import in_chunks
from models.data.rows import with_location
from models.data.source import Source
from models.data.text import is_right_to_left

EXAMPLES = 5  # of each kind of trouble
NOTES = {
    "turned": "images that EXIF turns: they are read upright",
    "right_to_left": "labels with letters that run from right to left, against the columns that CTC reads"
    " (--data.right-to-left)",
    "both_directions": "of these with words or numbers that run from left to right, too",
}
SQUEEZES = (1.25, 1.5, 2, 3)  # how much narrower than its own proportions an image becomes


@dataclass(frozen=True)
class Terms:
    """Against what a data set is judged. stride: px of width per time step of the recogniser."""

    shape: Shape
    charset: Charset
    stride: int = 4

    def time_steps(self, width: int) -> int:
        return width // self.stride + 1


@dataclass
class Findings:
    """Counts over one split, or over a part of it; they add up."""

    samples: int = 0
    unreadable: int = 0
    lengths: Counter[int] = field(default_factory=Counter)  # of labels, in characters
    out_of_charset: Counter[str] = field(default_factory=Counter)  # characters outside the charset
    label_issues: Counter[str] = field(default_factory=Counter)  # labels by kind of issue (models/data/label_filter.py)
    squeezed: Counter[float] = field(default_factory=Counter)  # images by the largest of SQUEEZES they exceed
    notes: Counter[str] = field(default_factory=Counter)  # samples by what a person should know of them (NOTES)
    examples: dict[str, list[str]] = field(default_factory=dict)
    hashes: list[np.ndarray] = field(default_factory=list)  # uint64 of each readable image's encoded bytes
    labels: list[np.ndarray] = field(default_factory=list)  # uint64 of its label
    digest: str = ""  # of the samples as they are, where their writer noted one (models/data/digest.py)

    def add(self, other: Findings) -> None:
        self.samples += other.samples
        self.unreadable += other.unreadable
        for name in ("lengths", "out_of_charset", "label_issues", "squeezed", "notes"):
            getattr(self, name).update(getattr(other, name))
        for kind, some in other.examples.items():
            self.examples[kind] = (self.examples.get(kind, []) + some)[:EXAMPLES]
        self.digest = sum_digest(self.digest, [int(other.digest or "0", 16)])
        self.hashes += other.hashes
        self.labels += other.labels

    @property
    def relabelled(self) -> int:
        """Images that are there several times, with different labels."""
        pairs = np.unique(np.stack([np.concatenate(self.hashes), np.concatenate(self.labels)]), axis=1)
        return int((np.unique(pairs[0], return_counts=True)[1] > 1).sum())

    def example(self, kind: str, source: Source, number: int, text: str) -> None:
        some = self.examples.setdefault(kind, [])
        if len(some) < EXAMPLES:
            some.append(with_location(text, source.where(number)))


def examine(terms: Terms, source: Source, numbers: range) -> Findings:
    """One chunk of a source."""
    found = Findings(samples=len(numbers))
    hashes, labels, digests = [], [], []
    has_digest = bool(source.content_digest())
    for number in numbers:
        try:
            size = source.size(number)  # first: an image that cannot be read has no hash
            text, content = source.label(number), source.content(number)
        except DataError as error:
            found.unreadable += 1
            found.example("unreadable", source, number, str(error))
            continue
        if has_digest:
            digests.append(sample_digest(number, *source.stored(number)))
        hashes.append(content_hash(content))
        labels.append(content_hash(text.encode()))
        examine_sample(terms, found, source, number, size)
        for note in sample_notes(text, content if source.shape is None else b""):
            found.notes[note] += 1
            found.example(note, source, number, repr(text))
    found.digest = sum_digest("", digests)
    found.hashes.append(np.array(hashes, np.uint64))
    found.labels.append(np.array(labels, np.uint64))
    return found


def sample_notes(text: str, encoded: bytes | memoryview) -> Iterator[str]:
    """Keys of NOTES that are true of a sample."""
    if encoded and has_exif(encoded) and orientation(encoded) != UPRIGHT:
        yield "turned"
    if is_right_to_left(text):
        yield "right_to_left"
        if any(character.isalnum() and not is_right_to_left(character) for character in text):
            yield "both_directions"


def examine_sample(terms: Terms, found: Findings, source: Source, number: int, size: tuple[int, int]) -> None:
    text = source.label(number)
    width = terms.shape.fit_width(*size)
    found.lengths[len(text)] += 1
    found.out_of_charset.update(terms.charset.out_of_charset(text))
    if kind := label_issue(text, terms.charset, terms.time_steps(width)):
        found.label_issues[kind] += 1
        found.example(kind, source, number, repr(text))
    squeeze = size[1] * terms.shape.height / size[0] / width
    if squeeze > SQUEEZES[0]:
        found.squeezed[max(limit for limit in SQUEEZES if squeeze > limit)] += 1


def content_hash(content: bytes | memoryview) -> int:
    return int.from_bytes(blake2b(content, digest_size=8).digest(), "little")


def audit(source: Source, terms: Terms, workers: int) -> Findings:
    found = Findings()
    with tqdm(total=len(source), desc=f"audit {source.name}", unit=" images", unit_scale=True, disable=None) as bar:
        for part in in_chunks(partial(examine, terms), source, workers):
            found.add(part)
            bar.update(part.samples)
    return found


def check_digest(source: Source, found: Findings) -> str:
    """What to say of a set that was written with a digest; empty: it was not. Raises DataError when it is damaged."""
    if not (noted := source.content_digest()):
        return ""
    if found.digest != noted:
        raise DataError(
            f"{source.name}: its samples are not those that models.prepare wrote: a label or an image has changed on "
            "the disk; copy it again, or prepare it again with --overwrite"
        )
    return f"  every label and image is as models.prepare wrote it (digest {noted[:16]})"


def hash_chunk(source: Source, numbers: range) -> np.ndarray:
    return np.array([content_hash(source.content(number)) for number in numbers], np.uint64)


def hash_all(source: Source, workers: int) -> np.ndarray:
    """uint64 of the content of every image of a source that `prepare` wrote (so that all can be read)."""
    return np.concatenate(list(in_chunks(hash_chunk, source, workers)))


def overlaps(hashes: dict[str, np.ndarray]) -> dict[tuple[str, str], int]:
    """How many different images two splits share, for every two that share any."""
    shared = {pair: len(np.intersect1d(hashes[pair[0]], hashes[pair[1]])) for pair in combinations(hashes, 2)}
    return {pair: count for pair, count in shared.items() if count}


def refuse_overlap(hashes: dict[str, np.ndarray], allowed: tuple[str, ...]) -> None:
    """Training on what is tested spoils the test: an error unless it is allowed by name, "train+test"."""
    for pair, count in overlaps(hashes).items():
        if "train" in pair and "+".join(pair) not in allowed:
            raise DataError(
                f"{count:,} images are in {pair[0]} and in {pair[1]}; take them out, or allow it by name: "
                f"--allow-overlap {'+'.join(pair)}"
            )


MOSTLY = 0.5  # of the labels outside the charset: another one is meant


def audit_report(split: str, found: Findings, terms: Terms) -> Iterator[str]:
    """The findings of one split, line by line, as they are printed."""
    repeated = len(np.concatenate(found.hashes)) - len(np.unique(np.concatenate(found.hashes)))
    lengths = sorted(found.lengths.elements())
    yield f"{split}: {found.samples:,} samples, {found.unreadable:,} unreadable, {repeated:,} repeated within it"
    if lengths:
        yield f"  label lengths: {lengths[0]} to {lengths[-1]}, median {lengths[len(lengths) // 2]}"
    if found.out_of_charset:
        most = " ".join(f"{c!r} {n:,}" for c, n in found.out_of_charset.most_common(20))
        yield f"  characters outside the charset of {len(terms.charset.characters):,}: {most}"
    for kind, count in found.label_issues.items():
        yield f"  {count:,} {KINDS[kind]}" + other_charset(kind, count / found.samples)
    for kind, count in found.notes.items():
        yield f"  {count:,} {NOTES[kind]}"
    if relabelled := found.relabelled:
        yield f"  {relabelled:,} images are there several times, with different labels"
    for limit in sorted(found.squeezed):
        yield f"  {found.squeezed[limit]:,} images squeezed more than {limit} times" + next_limit(limit)
    if found.squeezed:
        yield f"  squeezed to {terms.shape.width} px: name the recipe's own, --width and --keep-ratio"
    for kind, some in found.examples.items():
        for example in some:
            yield f"    {kind}: {example}"


def other_charset(kind: str, share: float) -> str:
    if kind != "out_of_charset" or share < MOSTLY:
        return ""
    return ": name the one that is meant, --charset 94, chinese or a file (--build FILE makes one of these labels)"


def next_limit(limit: float) -> str:
    higher = [other for other in SQUEEZES if other > limit]
    return f", at most {higher[0]}" if higher else ""
