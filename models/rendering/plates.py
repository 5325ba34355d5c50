"""Number plates of China: their second character is followed by a dot, which a reader leaves out."""

from __future__ import annotations

import re

PLATE = re.compile("[\u4e00-\u9fff][A-Z][A-Z0-9]{4,6}[学警挂港澳领]?")


def dot_plates(texts: list[str]) -> list[str]:
    """Three in five number plates get the dot that is seen behind their second character."""
    return [
        f"{text[:2]}·{text[2:]}" if len(text) > 6 and i % 5 < 3 and PLATE.fullmatch(text) else text
        for i, text in enumerate(texts)
    ]


def without_dot(text: str) -> str:
    """The label of a text: number plates are written down without their dot."""
    bare = text.replace("·", "")
    return bare if PLATE.fullmatch(bare) else text
