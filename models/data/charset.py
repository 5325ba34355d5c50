"""Characters and classes: character i of the alphabet is class i + 1, class 0 is the CTC blank."""

from __future__ import annotations

import json
import string
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from bench.errors import UserError
from bench.files import write_file
from models.data.files import read_document
from models.data.text import compose, fold_case, is_mark, visual_order, visual_positions

NAMED = {
    "36": string.digits + string.ascii_lowercase,
    "62": string.digits + string.ascii_letters,
    "94": string.digits + string.ascii_letters + string.punctuation,
}
# models/alphabets/README.md says where the list is from.
BUNDLED = {"chinese": Path(__file__).resolve().parents[1] / "alphabets" / "chinese.txt"}
CARRIERS = " \u200b\u25cc"  # that a mark is written on to be seen alone: a space, a dotted circle
LARGEST_ALPHABET = 1 << 24  # bytes of its file: Unicode has 1.1 million characters
BLANKS = {"blank", "<blank>", "[blank]", "[B]"}  # a first line that some tools write for class 0


class CharsetError(UserError):
    """A text that the alphabet cannot spell, or an alphabet that cannot be used."""


@dataclass(frozen=True)
class Charset:
    """An ordered alphabet. `classes` counts the blank. Texts are compared in Unicode's composed form (NFC).

    A character may be listed twice, as in the public list of 5,990 classes: both classes are read as it, and it is
    spelled with the first.
    """

    characters: str = NAMED["36"]
    right_to_left: bool = False  # right-to-left texts are spelled as they run on the image, and read as they are typed

    def __post_init__(self) -> None:
        if not self.characters:
            raise CharsetError("an alphabet needs characters; it is empty")

    @classmethod
    def named(cls, name: str, right_to_left: bool = False) -> Charset:
        """The charset that a recipe or a command line means: 36, 62, 94, chinese or a file."""
        if right_to_left:
            return replace(cls.named(name), right_to_left=True)
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
        JSON is read as CRNN_Tensorflow's ord_map, index_2_ord_map or ord_2_index_map.
        """
        if path.suffix.lower() == ".json":
            return cls(characters_of_map(path))
        return cls(characters_of_lines(path, alphabet_lines(path)))

    @classmethod
    def of_codes(cls, path: Path) -> Charset:
        """What integer labels index: line k, counted from 0 with the blank's, is class k.

        The blank's line says "blank" or is one space, as in the public list of 5,990; or there is none.
        """
        lines = alphabet_lines(path)
        if has_space_for_blank(lines):
            del lines[0]
        return cls(characters_of_lines(path, lines))

    @classmethod
    def of(cls, texts: Iterable[str]) -> Charset:
        """The alphabet of these texts in code point order, whatever order they come in."""
        return cls("".join(sorted({c for text in texts for c in compose(text)})))

    def save(self, path: Path) -> None:
        """One character a line. Raises CharsetError for a line break among them."""
        if "\n" in self.characters or "\r" in self.characters:
            raise CharsetError(f"{path}: a line break cannot be in an alphabet's file, which has one character a line")
        begin = "\ufeff" if self.characters[0] == "\ufeff" else ""  # which is taken for a mark of the encoding
        write_file(path, begin + "".join(f"{c}\n" for c in self.characters))

    @cached_property
    def repeated(self) -> str:
        """Characters that are listed twice."""
        return "".join(sorted({c for c in self.characters if self.characters.count(c) > 1}))

    @property
    def classes(self) -> int:
        return len(self.characters) + 1

    @cached_property
    def index(self) -> dict[str, int]:
        """Class of each character, its first one; also of the composed form of one that has another."""
        classes: dict[str, int] = {}
        for form in (str, compose):
            for i, c in enumerate(self.characters):
                classes.setdefault(form(c), i + 1)
        return classes

    @cached_property
    def split_by_composing(self) -> dict[str, str]:
        """Characters of this alphabet that Unicode's composed form takes apart, as U+0958, by what it makes of them."""
        return {compose(c): c for c in self.characters if len(compose(c)) > 1}

    @cached_property
    def folds_case(self) -> bool:
        """True when the alphabet holds no capitals, so that texts are lower-cased before they are spelled."""
        return self.characters == self.characters.lower()

    def normalise(self, text: str) -> str:
        """A text as this alphabet spells it."""
        if not text.isascii():
            text = compose(text)
            for parts, whole in self.split_by_composing.items():
                text = text.replace(parts, whole)
        return fold_case(text) if self.folds_case else text

    def encode(self, text: str) -> list[int]:
        """Text to classes in 1..len(characters). Raises CharsetError naming the characters it lacks."""
        try:
            return self.classes_of(self.normalise(text))
        except KeyError:
            raise CharsetError(f"label {text!r} has {self.out_of_charset(text)!r}, which the alphabet lacks") from None

    def classes_of(self, text: str) -> list[int]:
        """Classes of a text that is made of this alphabet's characters, in the order in which they stand."""
        return [self.index[c] for c in (visual_order(text) if self.right_to_left else text)]

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
        text = "".join(self.characters[c - 1] for c in classes if c)
        return visual_order(text) if self.right_to_left else text

    def typed_order(self, texts: list[str], each: list[list[float]]) -> tuple[list[str], list[list[float]]]:
        """Texts as they run on their images to texts as they are typed, with what belongs to each character."""
        if not self.right_to_left:
            return texts, each
        places = map(visual_positions, texts)
        return list(map(visual_order, texts)), [[row[i] for i in p] for row, p in zip(each, places, strict=True)]


def alphabet_lines(path: Path) -> list[str]:
    """The lines that hold characters, without a first one that says "blank"."""
    lines = [line for line in text_of(path).replace("\r\n", "\n").split("\n") if line]
    return lines[1:] if lines and lines[0] in BLANKS else lines


def has_space_for_blank(lines: list[str]) -> bool:
    """Whether a list of codes begins with a line of one space: class 0, as a space is read and written by nobody."""
    return len(lines) > 1 and lines[0] == " "


def characters_of_lines(path: Path, lines: list[str]) -> str:
    """Each line by itself, in its composed form where that is one character; so that no two lines become one class.

    A line of several is a sequence, as EasyOCR's lists have them for Indic scripts: what has no line of its own counts,
    and without a mark in it all must have one. Raises CharsetError for a line that is neither.
    """
    if len(lines) == 1:
        return compose(lines[0])
    characters: list[str] = []
    alone = {line.strip() for line in lines}
    for number, line in enumerate(lines, 1):
        one = line if len(line) == 1 else line.strip()
        if len(one) > 1 and len(compose(one)) == 1:
            one = compose(one)
        if len(one) == 1:
            characters.append(one)
            continue
        others = [part for part in one if part not in alone and part not in CARRIERS]
        if others and not any(map(is_mark, one)):
            raise CharsetError(f"{path}: line {number}: {line!r} is more than one character")
        characters += [part for part in dict.fromkeys(others) if part not in characters]
    return "".join(characters)


def characters_of_map(path: Path) -> str:
    """CRNN_Tensorflow's ord_map_*.json: {"0_index": "54", ...}, a code point for each class in order.

    Its older versions have that in two files: index_2_ord_map.json, {"0": "54", ...}, and ord_2_index_map.json, the
    inverse.
    """
    try:
        entries = json.loads(text_of(path))
        joined = {key.removesuffix("_index"): value for key, value in entries.items() if key.endswith("_index")}
        pairs = [(int(key), int(value)) for key, value in (joined or entries).items()]
        for codes in (dict(pairs), {index: code for code, index in pairs}):
            if codes and len(codes) == len(pairs) and sorted(codes) == list(range(len(codes))):
                return "".join(chr(codes[index]) for index in range(len(codes)))
    except (ValueError, OverflowError, RecursionError, AttributeError, TypeError):
        pass
    raise CharsetError(
        f'{path}: JSON that is no alphabet: CRNN_Tensorflow\'s ord_map has {{"0_index": "54", ...}} and its '
        'index_2_ord_map {"0": "54", ...}, without gaps (its char_dict has no order: take one of these beside it); '
        "other alphabets are text, one character a line"
    )


def text_of(path: Path) -> str:
    """A text file's content: UTF-8 with or without BOM, else GB18030."""
    content = read_document(path, LARGEST_ALPHABET)
    for encoding in ("utf-8-sig", "gb18030"):
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise CharsetError(f"{path}: neither UTF-8 nor GB18030")
