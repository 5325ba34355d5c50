"""Characters and classes: character i of the alphabet is class i + 1, class 0 is the CTC blank."""

from __future__ import annotations

import string
import unicodedata
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from bench.errors import UserError

NAMED = {
    "36": string.digits + string.ascii_lowercase,
    "62": string.digits + string.ascii_letters,
    "94": string.digits + string.ascii_letters + string.punctuation,
}
# models/alphabets/README.md says where the list is from.
BUNDLED = {"chinese": Path(__file__).resolve().parents[1] / "alphabets" / "chinese.txt"}
BLANKS = {"blank", "<blank>", "[blank]", "[B]"}  # a first line that some tools write for class 0


class CharsetError(UserError):
    """A text that the alphabet cannot spell, or an alphabet that cannot be used."""


@dataclass(frozen=True)
class Charset:
    """An ordered alphabet. `classes` counts the blank. Texts are compared in Unicode's composed form (NFC)."""

    characters: str = NAMED["36"]

    def __post_init__(self) -> None:
        twice = "".join(sorted(c for c, n in Counter(self.characters).items() if n > 1))
        if twice or not self.characters:
            raise CharsetError(
                f"an alphabet needs distinct characters; {f'twice: {twice!r}' if twice else 'it is empty'}"
            )

    @classmethod
    def named(cls, name: str) -> Charset:
        """The charset that a recipe or a command line means: 36, 62, 94, chinese or a file."""
        if name in NAMED:
            return cls(NAMED[name])
        if name in BUNDLED:
            return cls.from_file(BUNDLED[name])
        if not Path(name).is_file():
            known = ", ".join([*NAMED, *BUNDLED])
            raise CharsetError(f"no charset {name!r}: it is {known} or a file with the characters in it")
        return cls.from_file(Path(name))

    @classmethod
    def from_file(cls, path: Path) -> Charset:
        """Read a file with one character a line, or with all of them on its only line; a space counts, as does '#'.

        UTF-8 with or without BOM, else GB18030 (which holds GBK); any line ends. A first line "blank" is left out.
        """
        lines = [line for line in text_of(path).replace("\r\n", "\n").split("\n") if line]
        if lines and lines[0] in BLANKS:
            del lines[0]
        for number, line in enumerate(lines if len(lines) > 1 else [], 1):
            if len(unicodedata.normalize("NFC", line)) > 1:
                raise CharsetError(f"{path}: line {number}: {line!r} is more than one character")
        return cls(unicodedata.normalize("NFC", "".join(lines)))

    @classmethod
    def of(cls, texts: Iterable[str]) -> Charset:
        """The alphabet of these texts in code point order, whatever order they come in."""
        return cls("".join(sorted({c for text in texts for c in unicodedata.normalize("NFC", text)})))

    def save(self, path: Path) -> None:
        path.write_text("".join(f"{c}\n" for c in self.characters), encoding="utf-8")

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

    def normalise(self, text: str) -> str:
        if not text.isascii():
            text = unicodedata.normalize("NFC", text)
        return text.lower() if self.folds_case else text

    def encode(self, text: str) -> list[int]:
        """Text to classes in 1..len(characters). Raises CharsetError naming the characters it lacks."""
        try:
            return [self.index[c] for c in self.normalise(text)]
        except KeyError:
            raise CharsetError(f"label {text!r} has {self.out_of_charset(text)!r}, which the alphabet lacks") from None

    @cached_property
    def ascii_classes(self) -> np.ndarray:
        """Class of each of the 128 ASCII characters, folded as this alphabet folds; 0 where it has none."""
        folded = [self.normalise(chr(code)) for code in range(128)]
        return np.array([self.index.get(character, 0) for character in folded], np.int32)

    def encode_all(self, texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
        """Classes of all texts in a row, and their lengths: both int32. Raises CharsetError like `encode`.

        Plain ASCII goes through one table for the whole batch: 0.1 us a word instead of 1.
        """
        whole = "".join(texts)
        if not whole.isascii():
            each = [self.encode(text) for text in texts]
            return np.array([c for one in each for c in one], np.int32), np.array(list(map(len, each)), np.int32)
        classes = self.ascii_classes[np.frombuffer(whole.encode(), np.uint8)]
        if not classes.all():
            self.encode(next(text for text in texts if self.out_of_charset(text)))
        return classes, np.array(list(map(len, texts)), np.int32)

    def out_of_charset(self, text: str) -> str:
        """The characters of a text that the alphabet lacks, each once, sorted."""
        return "".join(sorted({c for c in self.normalise(text) if c not in self.index}))

    def remove_out_of_charset(self, text: str) -> str:
        """The text without the characters that the alphabet lacks."""
        return "".join(c for c in self.normalise(text) if c in self.index)

    def decode(self, classes: Iterable[int]) -> str:
        """Classes to text, blanks dropped, repeats kept (collapsing is the decoder's work)."""
        return "".join(self.characters[c - 1] for c in classes if c)


def text_of(path: Path) -> str:
    """A text file's content: UTF-8 with or without BOM, else GB18030."""
    content = path.read_bytes()
    for encoding in ("utf-8-sig", "gb18030"):
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise CharsetError(f"{path}: neither UTF-8 nor GB18030")
