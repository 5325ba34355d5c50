"""The subject: what is measured. A text recogniser, its data, its training and its testing.

from models import Recogniser

r = Recogniser.load()
r("word.png").text
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from models.reading.recogniser import Reading, Recogniser

__all__ = ["Reading", "Recogniser"]


def __getattr__(name: str) -> Any:
    """Recogniser and Reading, when they are asked for: most programs here start without torch, and at once."""
    if name not in __all__:
        raise AttributeError(f"module 'models' has no attribute {name!r}")
    from models.reading import recogniser

    return getattr(recogniser, name)
