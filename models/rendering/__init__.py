"""Rendered words: images that stand in for Synth90k where it is not at hand."""

from models.rendering.fonts import FontError, find_faces
from models.rendering.styles import STYLES, render

__all__ = ["STYLES", "FontError", "find_faces", "render"]
