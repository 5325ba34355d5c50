"""What the service says, as JSON: the schema that /docs shows."""

from __future__ import annotations

from pydantic import BaseModel, Field

from models.reading.detection import PageLine
from models.reading.recogniser import Reading


class Character(BaseModel):
    character: str
    confidence: float = Field(description="0 to 1")
    left: float = Field(description="where it begins, as a share of the image's width")
    right: float


class Alternative(BaseModel):
    text: str
    confidence: float


class Word(BaseModel):
    name: str = Field(description="of the file, or its number in the request")
    text: str
    confidence: float = Field(description="of the text, 0 to 1")
    characters: list[Character]
    alternatives: list[Alternative] = Field(description="the most probable other texts")
    box: list[float] | None = Field(None, description="with detect=1: x and y of a line's corners in px, clockwise")


class Answer(BaseModel):
    results: list[Word] = Field(description="one for each image in turn; with detect=1 one for each of its lines")
    weights: str


class Health(BaseModel):
    status: str = Field(description="ok")
    weights: str
    engine: str
    device: str


class Problem(BaseModel):
    detail: str


def text_line(name: str, line: PageLine) -> Word:
    """A line of a whole photo; what its characters are is not said."""
    box = [float(number) for number in line.box.ravel()]
    return Word(name=name, text=line.text, confidence=line.confidence, characters=[], alternatives=[], box=box)


def word(name: str, reading: Reading, alternatives: int) -> Word:
    # Not strict: a word of a lexicon that CTC's columns are too few to spell has no places.
    each = zip(reading.text, reading.character_confidences, reading.alignment, strict=False)
    return Word(
        name=name,
        text=reading.text,
        confidence=reading.confidence,
        characters=[Character(character=c, confidence=p, left=a, right=b) for c, p, (a, b) in each],
        alternatives=[Alternative(text=text, confidence=p) for text, p in reading.alternatives[:alternatives]],
        box=None,
    )
