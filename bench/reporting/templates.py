"""Jinja templates of HTML pages whose texts come from records, labels and file names."""

from __future__ import annotations

from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from bench.errors import printable


def template_environment(folder: Path) -> Environment:
    """The templates of a folder. They escape all text, and a name that is not given is an error."""
    return Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        finalize=printable,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
