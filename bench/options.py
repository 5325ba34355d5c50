"""One way to read options for every program: a dataclass, its defaults < a recipe < the command line. No torch here.

A misspelt option is refused by name, with the nearest right one. Errors are one line and exit code 2.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import re
import sys
from collections.abc import Callable
from typing import TypeVar

from jsonargparse import ArgumentParser, set_parsing_settings

from bench.errors import UserError

T = TypeVar("T")
set_parsing_settings(docstring_parse_attribute_docstrings=True)  # the strings below fields are their --help


class Parser(ArgumentParser):
    """jsonargparse's parser with errors a person can act on."""

    def error(self, message, ex=None):
        raise UserError(tidy(str(message)) + self.nearest(str(message)))

    @property
    def names(self) -> list[str]:
        return [action.dest for action in self._actions if action.dest != "help"]

    def nearest(self, message: str) -> str:
        """' (did you mean --steps?)' for the first --option or 'key' of the message that is almost one of ours."""
        short = {name.rpartition(".")[2]: name for name in self.names}
        for word in re.findall(r"(?:--|')([\w.-]+)", message):
            word = word.replace("-", "_")
            if word in short or word in self.names:
                continue
            if close := difflib.get_close_matches(word, [*self.names, *short], n=1, cutoff=0.75):
                return f" (did you mean --{short.get(close[0], close[0])}?)"
        return ""


def tidy(message: str) -> str:
    """jsonargparse explains wrong types at length; a person needs the option, the value and the wanted type."""
    wordy = " ".join(message.split())
    wrong = re.search(r'Parser key "(.+?)":.*?(?:Given value: |got |value: )(.+?)$', wordy)
    wanted = re.findall(r"Expected an? <class '(\w+)'>", message)
    if wrong and wanted:
        return f"--{wrong[1]} wants {' or '.join(w for w in wanted if w != 'NoneType')}, not {wrong[2]!r}"
    choice = re.search(r'Parser key "(.+?)": Expected a typing\.Literal\[(.+?)\]\. Got value: (.+?)$', wordy)
    if choice:
        return f"--{choice[1]} is one of {choice[2]}, not '{choice[3]}'"
    return wordy


def build_parser(kind: type, prog: str, example: str = "") -> Parser:
    description = (kind.__doc__ or "").partition("Args:")[0].strip()
    parser = Parser(prog=prog, description=description, epilog=example and f"example: {example}", exit_on_error=True)
    parser.add_class_arguments(kind, as_group=False)
    return parser


def spelled_out(argv: list[str], flags: set[str], lists: set[str] = frozenset()) -> list[str]:
    """`--batch-size` is `--batch_size`, a bare flag is true, and an option that is a list takes all words after it."""
    words = [re.sub(r"^--[\w.-]+", lambda m: "--" + m[0][2:].replace("-", "_"), word) for word in argv]
    words = gathered(words, lists)
    following = [*words[1:], "--"][: len(words)]
    return [
        f"{word}=true" if word.startswith("--") and word[2:] in flags and after.startswith("--") else word
        for word, after in zip(words, following, strict=True)
    ]


def gathered(words: list[str], lists: set[str]) -> list[str]:
    """`--sets a b --seed 1` as `--sets=["a", "b"] --seed 1`."""
    found: dict[int, list[str]] = {}  # the words after each list's option
    rest, own = [], None
    for word in words:
        if word.startswith("--"):
            own = found.setdefault(len(rest), []) if word[2:] in lists else None
        elif own is not None:
            own.append(word)
            continue
        rest.append(word)
    return [f"{word}={json.dumps(found[place])}" if place in found else word for place, word in enumerate(rest)]


def parse(
    kind: type[T],
    argv: list[str] | None,
    prog: str,
    example: str = "",
    defaults: Callable[[Parser, list[str]], None] | None = None,
) -> T:
    """Read `kind` (a dataclass) from the command line. Raises UserError.

    defaults: called with the parser and the words before they are read, to set other defaults than the dataclass's.
    """
    parser = build_parser(kind, prog, example)
    flags = {f.name for f in dataclasses.fields(kind) if f.type in ("bool", bool)}
    lists = {f.name for f in dataclasses.fields(kind) if f.type == "list[str]"}
    words = spelled_out(sys.argv[1:] if argv is None else argv, flags, lists)
    if defaults:
        defaults(parser, words)
    return kind(**vars(parser.instantiate(parser.parse_args(words))))
