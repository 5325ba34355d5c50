"""A whole sample: what every image of it will be, decided by the seed alone, and its bytes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import simplejpeg

from bench.errors import UserError
from models.data.synth90k import SPLITS
from models.rendering.fonts import Face, FontError, choose_face
from models.rendering.lexicon import spell, split_words
from models.rendering.plates import PLATE, without_dot
from models.rendering.styles import render

QUALITY = (79, 10, 46, 100)  # of Synth90k's JPEGs: mean, standard deviation, least, most (measured)


class Task(NamedTuple):
    """Consecutive images for one worker: the first one's number, and every one's lexicon line and word."""

    first: int
    lines: Sequence[int]
    words: Sequence[str]


@dataclass(frozen=True)
class Look:
    """What decides an image besides its word and its number. Small: it travels to every worker."""

    faces: tuple[Face, ...]
    seed: int
    style: str
    case: str
    weights: tuple[float, ...] | None = None  # of the faces; with them every text gets a face that has its characters

    def jpeg(self, word: str, number: int) -> tuple[str, bytes]:
        """Image `number` of a sample: its text as spelled, and its file. Only the arguments matter."""
        rng = np.random.Generator(np.random.Philox(key=[self.seed, number]))
        text = spell(word, self.case, rng)
        image = render(text, rng, self.style, self.faces_for(text, rng))
        mean, deviation, least, most = QUALITY
        return text, encode(image, int(np.clip(rng.normal(mean, deviation), least, most)))

    def faces_for(self, text: str, rng: np.random.Generator) -> tuple[Face, ...]:
        if self.weights is None:
            return self.faces
        return (choose_face(text, self.faces, self.weights, rng),)


@dataclass(frozen=True)
class PatientLook(Look):
    """Of lines: four in five number plates look like one; a face whose glyph is empty, though its cmap promises the
    character, does not end the drawing: another is taken.
    """

    def jpeg(self, word: str, number: int) -> tuple[str, bytes]:
        if self.style != "plates" and number % 5 and PLATE.fullmatch(without_dot(word)):
            return replace(self, style="plates").jpeg(word, number)
        for attempt in range(20):
            try:
                return super().jpeg(word if attempt < 15 else "的", number + (attempt << 38))
            except FontError:
                continue
        raise FontError(f"no face draws {word!r}")


def drawable_texts(texts: list[str], looks: Sequence[Look], path: Path) -> list[str]:
    """Those of which each look has a face with all characters. Raises UserError where there are none."""
    faces = dict.fromkeys(look.faces for look in looks)
    able = [text for text in texts if all(any(face.covers(text) for face in one) for one in faces)]
    if len(able) < len(texts):
        print(f"{path}: {len(texts) - len(able):,} texts are left out, as no face has all of their characters")
    if not able:
        raise UserError(f"{path}: the faces have all characters of none of its texts")
    return able


@dataclass(frozen=True)
class Sample:
    """Words, how many images of them, how they are split, and how they look."""

    words: Sequence[str]
    count: int
    shares: tuple[float, float, float]
    look: Look

    def splits(self) -> dict[str, range]:
        """The images of each split: consecutive numbers, so a split is a slice of the annotation."""
        ends = [0, *np.round(np.cumsum(self.shares) / sum(self.shares) * self.count).astype(int).tolist()]
        return {name: range(*ends[i : i + 2]) for i, name in enumerate(SPLITS)}

    def lines(self) -> np.ndarray:
        """The lexicon line of every image; a split uses all of its own words before one comes again."""
        pools = split_words(len(self.words), self.shares, self.look.seed)
        chosen = []
        for (name, images), pool in zip(self.splits().items(), pools, strict=True):
            if len(images) and not len(pool):
                raise UserError(f"{len(self.words)} words are too few to give {name} words of its own")
            chosen.append(np.resize(pool, len(images)))
        return np.concatenate(chosen)

    def tasks(self, size: int) -> Iterator[Task]:
        """The whole sample in tasks of `size` images."""
        lines = self.lines()
        for first in range(0, self.count, size):
            part = lines[first : first + size].tolist()
            yield Task(first, part, [self.words[line] for line in part])


def encode(image: np.ndarray, quality: int) -> bytes:
    """JPEG with three components and 4:2:0 as Synth90k's own, so that reading a sample costs the same."""
    # Not encode_jpeg_yuv_planes: of an image 31 high it reads a row past the end, and other bytes come out each time.
    colours = np.repeat(image[..., None], 3, axis=2)
    jpeg: bytes = simplejpeg.encode_jpeg(colours, quality, colorspace="RGB", colorsubsampling="420")
    return jpeg
