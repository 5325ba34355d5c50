"""Rendered words: pictures that stand in for Synth90k where it is not at hand."""

from models.data.rendering.fonts import FontError, find_faces
from models.data.rendering.styles import STYLES, render

__all__ = ["STYLES", "FontError", "find_faces", "render"]
