"""What one text is: the Unicode form, case and order in which labels, alphabets and readings are compared."""

from __future__ import annotations

import re
import unicodedata

from models.data.files import LONGEST, DataError, UnreadableError

DOT_ABOVE = "\u0307"  # what Python leaves of the Turkish capital I with a dot when it is lower-cased
JOINERS = "\u200c\u200d"
DIRECTIONS = {"R": "R", "AL": "R", "L": "L", "EN": "L", "AN": "L"}  # of Unicode's classes; others have none
LEFT_TO_RIGHT_RUN = re.compile("L(?:[^R]*L)?|.")
MIRRORED = str.maketrans("()[]{}<>\u00ab\u00bb", ")(][}{><\u00bb\u00ab")


def compose(text: str) -> str:
    """Unicode's composed form (NFC), to which every label and every reading is brought."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def fold_case(text: str) -> str:
    return text.lower() if text.isascii() else text.lower().replace("i" + DOT_ABOVE, "i")


def clean_label(text: str) -> str:
    """A label as it is compared: composed, without blanks at its ends. Raises DataError for one of several lines."""
    if len(text) > LONGEST:
        raise UnreadableError(f"label {text[:40]!r}... of {len(text):,} characters, more than {LONGEST:,}")
    text = compose(text.strip())
    if "\n" in text or "\r" in text:
        raise DataError(f"label {text[:80]!r} has a line break; a sample is one line of text")
    return text


def is_mark(character: str) -> bool:
    """Whether it belongs to the letter before it: accents, vowel signs, tones."""
    return not character.isascii() and (unicodedata.category(character)[0] == "M" or character in JOINERS)


def is_right_to_left(text: str) -> bool:
    """Whether a text has letters that run from right to left: Hebrew, Arabic and their like."""
    return not text.isascii() and "R" in map(direction, text)


def direction(character: str) -> str:
    """L, R, or n for what runs with its neighbours. Numbers run to the right in every text."""
    return DIRECTIONS.get(unicodedata.bidirectional(character), "n")


def visual_order(text: str) -> str:
    """A text with right-to-left letters as it runs on the image, from left to right; of such an order the text again.

    It is reversed letter by letter, marks staying with theirs; numbers and left-to-right words keep their order and
    brackets are mirrored. Other texts are as they were. The base direction is taken for right to left, as in a line of
    such a language (Unicode's algorithm, UAX 9, without explicit embeddings).
    """
    if not is_right_to_left(text):
        return text
    return "".join(text[i].translate(MIRRORED) for i in visual_positions(text))


def visual_positions(text: str) -> list[int]:
    """For each place of `visual_order(text)` the place in the text that its character comes from."""
    if not is_right_to_left(text):
        return list(range(len(text)))
    letters = [i for i, character in enumerate(text) if i == 0 or not is_mark(character)]
    ends = [*letters[1:], len(text)]
    directions = "".join(direction(text[i]) for i in letters)
    runs = [match.span() for match in LEFT_TO_RIGHT_RUN.finditer(directions)]
    return [i for begin, end in reversed(runs) for i in range(letters[begin], ends[end - 1])]


def split_lexicon(words: str) -> list[str]:
    """The words of one image's lexicon, which its owners separate by blanks (crnn, ASTER) or commas (SVT)."""
    return words.replace(",", " ").split()
