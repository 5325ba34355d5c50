"""Characters and classes: character i of the alphabet is class i + 1, class 0 is the CTC blank."""

from __future__ import annotations

import hashlib
import string
from dataclasses import dataclass
from functools import cached_property

from bench.refusal import Refusal

NAMED = {
    "36": string.digits + string.ascii_lowercase,
    "62": string.digits + string.ascii_letters,
    "94": string.digits + string.ascii_letters + string.punctuation,
}


class CharsetError(Refusal):
    """A text that the alphabet cannot spell, or an alphabet that cannot be used."""


@dataclass(frozen=True)
class Charset:
    """An ordered alphabet. `classes` counts the blank."""

    characters: str = NAMED["36"]

    def __post_init__(self):
        twice = sorted({c for c in self.characters if self.characters.count(c) > 1})
        if twice or not self.characters:
            raise CharsetError(f"an alphabet needs distinct characters; twice in it: {twice or 'nothing, it is empty'}")

    @property
    def classes(self) -> int:
        return len(self.characters) + 1

    @cached_property
    def index(self) -> dict[str, int]:
        return {c: i + 1 for i, c in enumerate(self.characters)}

    @cached_property
    def folds_case(self) -> bool:
        """True when the alphabet holds no capitals, so that texts are lower-cased before they are spelled."""
        return self.characters == self.characters.lower()

    @cached_property
    def digest(self) -> str:
        return hashlib.sha256(self.characters.encode()).hexdigest()[:16]

    def normalise(self, text: str) -> str:
        return text.lower() if self.folds_case else text

    def encode(self, text: str) -> list[int]:
        """Text to classes in 1..len(characters). Raises CharsetError naming the characters it lacks."""
        try:
            return [self.index[c] for c in self.normalise(text)]
        except KeyError:
            missing = "".join(sorted({c for c in self.normalise(text) if c not in self.index}))
            raise CharsetError(f"label {text!r} has {missing!r}, which the alphabet lacks") from None

    def decode(self, classes) -> str:
        """Classes to text, blanks dropped, repeats kept (collapsing is the decoder's work)."""
        return "".join(self.characters[c - 1] for c in classes if c)
