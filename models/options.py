"""One way to read options for every program: dataclass defaults < recipe YAML < command line.

A misspelt option or recipe key is refused by name, with the nearest right one. Errors are one line and exit code 2.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
import sys
from pathlib import Path
from typing import TypeVar

from jsonargparse import ArgumentParser

T = TypeVar("T")


class Parser(ArgumentParser):
    """jsonargparse's parser with errors a person can act on: one line, the nearest right name, exit code 2."""

    def error(self, message, ex=None):
        message = " ".join(str(message).split())
        print(f"{self.prog}: error: {message}{self.nearest(message)}", file=sys.stderr)
        sys.exit(2)

    def nearest(self, message: str) -> str:
        known = {name.lstrip("-") for action in self._actions for name in [action.dest, *action.option_strings]}
        for word in re.findall(r"[\w.-]+", message.partition("'Key ")[0] and message):
            name = word.lstrip("-").partition("=")[0]
            close = difflib.get_close_matches(name, known, n=1, cutoff=0.75)
            if close and name not in known:
                return f" (did you mean '{close[0]}'?)"
        return ""


def parse(kind: type[T], argv: list[str] | None, prog: str, recipe: Path | None = None, example: str = "") -> T:
    """Read `kind` (a dataclass, nested ones allowed) from a recipe file and the command line `argv`."""
    parser = Parser(prog=prog, description=(kind.__doc__ or "").strip(), epilog=example and f"example: {example}",
                    default_config_files=[str(recipe)] if recipe else None, exit_on_error=True)
    parser.add_class_arguments(kind, as_group=False)
    values = parser.parse_args(sys.argv[1:] if argv is None else argv)
    return parser.instantiate(values) if not dataclasses.is_dataclass(kind) else build(parser, kind, values)


def build(parser: Parser, kind: type[T], values) -> T:
    return kind(**vars(parser.instantiate_classes(values)))
