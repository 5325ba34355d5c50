"""Which words a sample shows, how they are spelled, and how they are split: no word is in two splits."""

from __future__ import annotations

import lzma
import string
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bench.errors import UserError

BUNDLED = Path(__file__).with_name("words.txt.xz")  # 2of12 of Alan Beale's 12dicts, public domain: 39,561 words
LONGEST = 60  # characters; a longer "word" is a line of something that is no lexicon
PAIRS = ("()", "[]", "{}", "<>", '""', "''", "**", "--")
MARKS = ".,'-!?:&$%" * 2 + "".join(sorted(set(string.punctuation) - set("/\\_")))  # file names cannot have those


def read_words(path: str | Path | None = None) -> list[str]:
    """Lower-case words in the order of the file (UTF-8, one a line), each once; the bundled ones without.

    Raises UserError naming the file and line of a word that could not be part of a file name.
    """
    if path is None:
        return lzma.decompress(BUNDLED.read_bytes()).decode().split()
    lines = read_lines(path)
    filled = ((number, line.strip()) for number, line in enumerate(lines, 1) if line.strip())
    words = dict.fromkeys(check_word(word, path, number).lower() for number, word in filled)
    if not words:
        raise UserError(f"{path}: no words in it; a lexicon has one word a line")
    return list(words)


def read_lines(path: str | Path) -> list[str]:
    """Of a text file in UTF-8, or of one that is compressed (.xz). Raises UserError."""
    try:
        content = Path(path).read_bytes()
        return (lzma.decompress(content) if Path(path).suffix == ".xz" else content).decode("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError, lzma.LZMAError) as problem:
        raise UserError(f"{path}: cannot be read as a UTF-8 lexicon ({problem})") from None


def read_texts(path: str | Path) -> list[str]:
    """The lines of the file as written, each once. Raises UserError naming one that cannot be drawn and read."""
    texts = dict.fromkeys(read_lines(path))
    for number, text in enumerate(texts, 1):
        if not text or len(text) > LONGEST or not text.isprintable() or text != text.strip():
            raise UserError(
                f"{path}, text {number}: {text[:LONGEST]!r} cannot be a label: give 1 to {LONGEST} characters that can"
                " be seen, without spaces at the ends"
            )
    if not texts:
        raise UserError(f"{path}: no texts in it; give one a line")
    return list(texts)


def check_word(word: str, path: str | Path, number: int) -> str:
    if len(word) > LONGEST or not word.isprintable() or any(c in "/\\_. \t" for c in word):
        raise UserError(f"{path}, line {number}: {word[:LONGEST]!r} cannot be a word of the raw layout's file names")
    return word


def random_numbers(count: int, seed: int) -> list[str]:
    """`count` different strings of 1 to 6 digits, the same for the same seed."""
    rng = np.random.Generator(np.random.Philox(key=[seed, 0xD161]))
    found: dict[str, None] = {}
    while len(found) < count:
        found[str(rng.integers(10 ** rng.integers(1, 7)))] = None
    return list(found)


def punctuate(words: Sequence[str], share: float, seed: int) -> list[str]:
    """The words, of which about `share` got punctuation: a pair around them, or one mark before, after or in them."""
    rng = np.random.Generator(np.random.Philox(key=[seed, 0x3A2C]))
    return [add_punctuation(word, rng) if rng.random() < share else word for word in words]


def add_punctuation(word: str, rng: np.random.Generator) -> str:
    if rng.random() < 0.2:
        return word.join(PAIRS[rng.integers(len(PAIRS))])
    mark, place = MARKS[rng.integers(len(MARKS))], (0, len(word), rng.integers(len(word) + 1))[rng.integers(3)]
    return word[:place] + mark + word[place:]


def split_words(count: int, shares: Sequence[float], seed: int) -> list[np.ndarray]:
    """The lines 0 to `count` - 1 shuffled and cut by `shares`: every word is in one split only."""
    order = np.random.Generator(np.random.Philox(key=[seed, 0x5911])).permutation(count)
    ends = np.round(np.cumsum(shares) / np.sum(shares) * count).astype(int)
    return np.split(order, ends[:-1])


# name -> how one word is spelled under it; Synth90k itself is a third each of lower, Title and UPPER
SPELLINGS = {"lower": str.lower, "title": str.capitalize, "upper": str.upper}
CASES = (*SPELLINGS, "mixed", "written")


def spell(word: str, case: str, rng: np.random.Generator) -> str:
    if case == "written":
        return word
    names = list(SPELLINGS)
    return SPELLINGS[names[rng.integers(3)] if case == "mixed" else case](word)
