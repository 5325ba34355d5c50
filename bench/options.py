"""The one reader of command lines: a dataclass of options, filled from defaults < a recipe < --config < typed words.

A program declares its options once, `COMMAND = Command("models.demo", DemoOptions, "word.png --show shown")`, and its
`main` begins with `COMMAND.parse(argv)`. So `importlib.import_module(NAME).COMMAND.parse_known(WORDS)` checks any
command of any page without running it: it gives the options and the words for another program, or raises UserError.

The syntax of all programs. Options are written with hyphens, `--optimizer.lr-batch 64`; underscores and `--name=value`
are read too. A flag needs no value (`--resume`, `--resume false`). Several values are joined by commas: shares
`--ratio 0.8,0.1,0.1`, lists `--metrics throughput,latency`. Lists are also read word by word, `--metrics a b`, or from
repeated options, and files always are, so that the shell's patterns work: `--sets data/*`. Also read, as they were the
only way once: `[0.8,0.1,0.1]` and `0.9/0.05/0.05`. `--config run.yaml` holds any options, nested or dotted.

What an option may be is said in its type: `Annotated[int, Bounds(1)]`. Bounds hold wherever a value comes from, a
recipe and the Python API (`check_values`) included, and --help shows them.

jsonargparse 4.53 converts and checks numbers, truths and choices. Compared with tyro 1.0.17, each reading the
options of models.train by itself on two busy cores:

                                     jsonargparse                tyro
    import; models.train --help      0.62 s; 0.48 s of CPU       0.47 s; 0.57 s of CPU
    one line for a mistake           override `error`            boxes of 6 to 14 lines, printed by private code
    nearest right name               ours, 10 lines              its own, within the box
    hyphens, bare flags, lists       ours, 40 lines              its own; but `--resume false` and [0.9,0.99] are errors
    YAML: recipes, --config          values are checked          none
    --help at 80 columns             ours                        good
    it brings                        docstring-parser            docstring-parser, typeguard

Both run on Python 3.10 and know nothing of torch. One-line errors and checked recipes decided; tyro's help is imitated.
"""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import operator
import re
import sys
import types
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, NoReturn, TypeVar

import yaml

from bench.errors import UserError

T = TypeVar("T")
CLOSE = 0.7  # of difflib: how alike a mistyped name is to the one that is meant
ROOT = Path(__file__).resolve().parent.parent
LARGEST = 2**63 - 1  # of whole numbers, where nothing smaller is said
TRUTHS = ("true", "false", "yes", "no")


@dataclass(frozen=True)
class Bounds:
    """What a number, or each number of a tuple, may be: least and most included, above and below excluded."""

    least: float | None = None
    most: float | None = None
    above: float | None = None
    below: float | None = None

    def allow(self, value: float) -> bool:
        return (
            (self.least is None or value >= self.least)
            and (self.most is None or value <= self.most)
            and (self.above is None or value > self.above)
            and (self.below is None or value < self.below)
        )

    def __str__(self) -> str:
        if self.least is not None and self.most is not None:
            return f"{self.least} to {self.most}"
        limits = {"at least": self.least, "above": self.above, "at most": self.most, "below": self.below}
        return " and ".join(f"{name} {limit}" for name, limit in limits.items() if limit is not None)


@dataclass(frozen=True)
class Choices:
    """What a text, or each text of a list, may be, where a table says it and no Literal."""

    names: tuple[str, ...]


@dataclass(frozen=True)
class Shares:
    """Marks a tuple of shares of a whole: 0 or more, and not all of them 0."""


@dataclass(frozen=True)
class Bare:
    """What an option means that is given without a value, as a flag is: `--resume`. `--resume false` takes it back."""

    value: str


@dataclass(frozen=True)
class Also:
    """Another name that is read for an option: what a sibling program calls the same thing. --help shows it."""

    name: str


@dataclass(frozen=True)
class Metavar:
    """The name of the value in --help, where its type does not say enough: METRIC=SHARE."""

    name: str


@dataclass(frozen=True)
class Positional(Metavar):
    """Marks a field that is given by its place, without a name. A list takes as many words as there are."""


@dataclass(frozen=True)
class FileList:
    """Marks a list whose values are paths, which may contain commas: one word each."""


@dataclass(frozen=True)
class Option:
    """One leaf of a tree of dataclasses."""

    key: str  # optimizer.lr_batch
    hint: Any  # its type, without Annotated
    marks: tuple[Any, ...]
    default: Any = dataclasses.MISSING
    doc: str = ""

    @property
    def name(self) -> str:
        return self.key if self.positional else "--" + hyphens(self.key)

    @property
    def positional(self) -> Positional | None:
        return self.mark(Positional)

    def mark(self, kind: type[T]) -> T | None:
        return next((mark for mark in self.marks if isinstance(mark, kind)), None)

    @property
    def inner(self) -> Any:
        """The type, without `| None`."""
        parts = [part for part in typing.get_args(self.hint) if part is not type(None)]
        is_optional = typing.get_origin(self.hint) in (typing.Union, types.UnionType) and len(parts) == 1
        return parts[0] if is_optional else self.hint

    @property
    def elements(self) -> tuple[Any, ...] | None:
        """Types of the values of a list or a tuple; None where there is one value."""
        if typing.get_origin(self.inner) not in (list, tuple):
            return None
        return tuple(part for part in typing.get_args(self.inner) if part is not Ellipsis)

    @property
    def is_open(self) -> bool:
        """A list or tuple of any length."""
        return bool(self.elements) and (
            typing.get_origin(self.inner) is list or Ellipsis in typing.get_args(self.inner)
        )

    @property
    def more(self) -> str:
        """How --help says that further values may follow."""
        return ("..." if self.mark(FileList) else ",...") if self.is_open else ""

    @property
    def choices(self) -> tuple[str, ...]:
        """Of a Literal or of Choices; empty: anything."""
        if mark := self.mark(Choices):
            return mark.names
        return tuple(map(str, typing.get_args(self.inner))) if typing.get_origin(self.inner) is Literal else ()

    @property
    def is_short(self) -> bool:
        """The choices fit into a line of --help, before what they mean."""
        return len(",".join(self.choices)) < 40

    @property
    def is_flag(self) -> bool:
        return self.inner is bool

    @property
    def metavar(self) -> str:
        if mark := self.mark(Metavar):
            return mark.name + (self.more if not isinstance(mark, Positional) else "")
        if self.elements:
            return ",".join(word_for(part) for part in self.elements) + self.more
        if self.choices:
            return "{" + ",".join(self.choices) + "}" if self.is_short else "NAME"
        return word_for(self.inner)

    @property
    def nargs(self) -> str | None:
        """argparse's, of a positional option."""
        needed = self.default is dataclasses.MISSING
        return ("+" if needed else "*") if self.is_open else (None if needed else "?")

    def wanted(self) -> str:
        """What a value must be, for an error."""
        names = {int: "a whole number", float: "a number", bool: "true or false", Path: "a path"}
        if self.elements:
            count = "" if self.is_open else f"{len(self.elements)} "
            kinds = {int: "whole numbers", float: "numbers"}
            return f"{count}{kinds.get(self.elements[0], 'values')} with commas"
        return names.get(self.inner, "a text")

    def help(self, shown: Any) -> str:
        """Meaning, bounds, default."""
        bounds = self.mark(Bounds)
        notes = [str(bounds)] if bounds else []
        if also := self.mark(Also):
            notes.append(f"or --{hyphens(also.name)}")
        if self.choices and (self.elements or not self.is_short):
            notes.append(f"of {', '.join(self.choices)}")
        value = self.default if shown is None else shown
        if value not in (dataclasses.MISSING, None, "", [], (), False):
            values = value if isinstance(value, list | tuple) else [value]
            notes.append(f"default: {','.join(map(shown_default, values))}")
        text = self.doc + (f" ({'; '.join(notes)})" if notes else "")
        return text.strip().replace("%", "%%")

    def texts(self, words: Sequence[str]) -> list[str]:
        """The values that these words hold, in any of the ways to write several."""
        found: list[str] = []
        for word in words:
            if self.positional:
                found.append(word)
            elif word.startswith("[") and word.endswith("]"):
                found += [part.strip(" '\"") for part in word[1:-1].split(",") if part.strip()]
            elif self.mark(FileList) or (self.elements or [None])[0] is Path:
                found.append(word)
            else:
                parts = re.split("[,/]" if (self.elements or [None])[0] in (int, float) else ",", word)
                found += [part.strip() for part in parts if part.strip()]
        return found

    def word(self, words: Sequence[str]) -> str:
        """The words as one that jsonargparse reads."""
        if not self.elements:
            return words[-1]
        return f"[{', '.join(self.texts(words))}]"


def shown_default(value: Any) -> str:
    """As a person would type it: a path of this checkout from its root."""
    if isinstance(value, float):
        return f"{value:g}"
    return str(value.relative_to(ROOT) if isinstance(value, Path) and value.is_relative_to(ROOT) else value)


def word_for(hint: Any) -> str:
    return {int: "INT", float: "FLOAT", Path: "PATH", bool: "", str: "TEXT"}.get(hint, "VALUE")


def hyphens(key: str) -> str:
    return key.replace("_", "-")


def options_of(kind: type, prefix: str = "", documented: bool = False) -> Iterator[Option]:
    """Every leaf of a dataclass and of the dataclasses in it."""
    hints = typing.get_type_hints(kind, include_extras=True)
    docs = documentation(kind) if documented else {}
    for each in dataclasses.fields(kind):
        hint, marks = hints[each.name], []
        if typing.get_origin(hint) is Annotated:
            hint, *marks = typing.get_args(hint)
        if dataclasses.is_dataclass(hint):
            yield from options_of(typing.cast(type, hint), f"{prefix}{each.name}.", documented)
            continue
        factory = each.default_factory
        default = each.default if factory is dataclasses.MISSING else factory()
        yield Option(prefix + each.name, hint, tuple(marks), default, docs.get(each.name, ""))


def documentation(kind: type) -> dict[str, str]:
    """The strings below a dataclass's fields, those of its bases included."""
    from docstring_parser import parse_from_object  # only --help needs it

    found: dict[str, str] = {}
    for base in reversed(kind.__mro__[:-1]):
        found |= {p.arg_name: " ".join((p.description or "").split()) for p in parse_from_object(base).params}
    return found


@dataclass
class Given:
    """The words of one option and where they were found: '' on the command line, else a file."""

    words: list[str]
    origin: str = ""


class HelpFormatter(argparse.HelpFormatter):
    """Paragraphs of the text before and after the options are kept."""

    def __init__(self, prog: str):
        super().__init__(prog, max_help_position=28)

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        wide = [
            block
            if any(line.startswith((" ", "example:")) for line in block.splitlines())
            else super(HelpFormatter, self)._fill_text(block, width, indent)
            for block in text.split("\n\n")
        ]
        return "\n\n".join(wide)


@dataclass
class NoOptions:
    """Of a program that has none."""


@dataclass
class Command(Generic[T]):
    """A program's command line.

    example: the words of the example, after the program's name. description: default: the docstring of `kind`.
    start: how the program is started, where it is not `python -m PROG`. rest: which words `parse_known` leaves over:
    those after `--`, those of options that are unknown here, or all after the first. below: makes, of the options that
    were given, those of a layer below them: a recipe's.
    """

    prog: str
    kind: type[T]
    example: str = ""
    description: str = ""
    start: str = ""
    rest: Literal["", "--", "unknown", "after"] = ""
    below: Callable[[Command[Any], Mapping[str, Given]], dict[str, Given]] | None = None
    options: dict[str, Option] = field(init=False)

    def __post_init__(self) -> None:
        self.options = {option.key: option for option in options_of(self.kind)}
        if any(not option.positional for option in self.options.values()):
            self.options["config"] = Option("config", Path | None, (Metavar("FILE"),), None, "YAML file of options")

    def parse(self, argv: Sequence[str] | None = None) -> T:
        """The options. Raises UserError with one line for every mistake; prints help and exits for --help."""
        return self.parse_known(argv)[0]

    def parse_given(self, argv: Sequence[str] | None = None) -> tuple[T, frozenset[str]]:
        """The options, and the keys of those that were given: on the command line or in --config, not by a recipe."""
        options, _, given = self.parse_all(argv)
        return options, given

    def parse_known(self, argv: Sequence[str] | None = None) -> tuple[T, list[str]]:
        """The options, and the words for another program."""
        return self.parse_all(argv)[:2]

    def parse_all(self, argv: Sequence[str] | None = None) -> tuple[T, list[str], frozenset[str]]:
        words = list(sys.argv[1:] if argv is None else argv)
        typed, rest = self.split(words)
        config = self.read_file(Path(typed.pop("config").words[-1])) if "config" in typed else {}
        below = self.below(self, {**config, **typed}) if self.below else {}
        if "help" in typed:
            self.print_help({key: " ".join(one.words) for key, one in {**below, **config}.items()})
        return self.made(below, config, typed), rest, frozenset({**config, **typed})

    def split(self, words: list[str]) -> tuple[dict[str, Given], list[str]]:
        """Words by option, and those left over. Raises UserError for an option that is none."""
        words, rest = self.leave(words)
        given: dict[str, Given] = {}
        places: list[str] = []
        queue = list(words)
        while queue:
            word = queue.pop(0)
            if word in ("-h", "--help"):
                given["help"] = Given([])
            elif not word.startswith("--"):
                places.append(word)
            elif (key := self.key_of(word)) in self.named:
                values = self.take(self.options[key], word, queue)
                if key in given and self.options[key].is_open:  # --margin a=1 --margin b=2
                    values = [*given[key].words, *values]
                given[key] = Given(values)
            elif self.rest == "unknown":
                rest.append(word)
                while queue and not queue[0].startswith("--"):
                    rest.append(queue.pop(0))
            else:
                raise UserError(f"unrecognized option {word.partition('=')[0]}{self.nearest(key)}")
        return given | self.placed(places), rest

    def leave(self, words: list[str]) -> tuple[list[str], list[str]]:
        """Our words, and those that are another program's by their place."""
        if self.rest == "after":
            return words[:1], words[1:]
        cut = words.index("--") if "--" in words else len(words)
        ours, others = words[:cut], words[cut + 1 :]
        return (ours, others) if self.rest == "--" else ([*ours, *others], [])

    @property
    def named(self) -> set[str]:
        return {key for key, option in self.options.items() if not option.positional}

    def key_of(self, word: str) -> str:
        """The key that `--name` or `--name=value` means, whether it is one of ours or not."""
        key = word[2:].partition("=")[0].replace("-", "_")
        marks = ((option.key, option.mark(Also)) for option in self.options.values())
        return next((ours for ours, also in marks if also and also.name == key), key)

    def take(self, option: Option, word: str, queue: list[str]) -> list[str]:
        """The values of an option, taken off the queue."""
        _, equals, value = word.partition("=")
        if equals:
            return [value]
        if option.is_flag:
            return [queue.pop(0) if queue and queue[0].lower() in TRUTHS else "true"]
        bare = option.mark(Bare)
        if bare and (not queue or queue[0].startswith("--")):
            return [bare.value]
        values: list[str] = []
        most = LARGEST if option.is_open else len(option.elements or [None])
        while queue and not queue[0].startswith("--") and len(option.texts(values)) < most:
            values.append(queue.pop(0))
        if not values:
            raise UserError(f"{option.name} wants {option.wanted()} after it")
        return values

    def placed(self, words: list[str]) -> dict[str, Given]:
        """Words without a name, by the positional options in their order. Raises UserError for too many."""
        places = [option for option in self.options.values() if option.positional]
        given: dict[str, Given] = {}
        for number, option in enumerate(places):
            needed = sum(later.default is dataclasses.MISSING for later in places[number + 1 :])
            take = max(0, len(words) - needed) if option.is_open else 1
            taken, words = words[:take], words[take:]
            if taken:
                given[option.key] = Given(taken)
        if words:
            raise UserError(f"unexpected word '{words[0]}'{self.nearest(words[0])}")
        return given

    def nearest(self, text: str) -> str:
        """' (did you mean --steps?)' where one of our options is almost called so."""
        wanted = text.lstrip("-").replace("-", "_")
        names = {**{key.rpartition(".")[2]: key for key in self.named}, **{key: key for key in self.named}}
        close = difflib.get_close_matches(wanted, names, n=1, cutoff=CLOSE)
        close = close or [name for name in names if len(wanted) > 2 and name.startswith(wanted)]
        return f" (did you mean --{hyphens(names[close[0]])}?)" if close else ""

    def read_file(self, path: Path) -> dict[str, Given]:
        """Options of a YAML file. Raises UserError for a key that is none of ours."""
        values = read_yaml(path)
        for key in values:
            self.check_key(key, path)
        return {key: Given(words, str(path)) for key, words in values.items()}

    def check_key(self, key: str, path: Path) -> None:
        if any(name.startswith(f"{key}.") for name in self.named):
            raise UserError(f"{path}: '{key}' holds options of its own, one a line")
        if key not in self.options or key == "config":
            raise UserError(f"{path}: no option '{hyphens(key)}'{self.nearest(key)}")

    def made(self, *layers: Mapping[str, Given]) -> T:
        """The dataclass, later layers over earlier ones, types and bounds checked in all. Raises UserError."""
        for option in self.options.values():
            if option.default is dataclasses.MISSING and not any(option.key in layer for layer in layers):
                example = f", as in: {self.example_line}" if self.example else ""
                name = option.metavar if option.positional else f"{option.name} {option.metavar}"
                raise UserError(f"want {name}{example}")
        values = {key: self.value(self.options[key], one) for layer in layers for key, one in layer.items()}
        return build_dataclass(self.kind, values)

    def value(self, option: Option, given: Given) -> Any:
        """One option's value. Raises UserError, with the file where it stands in one."""
        origin = f"{given.origin}: " if given.origin else ""
        typed = " ".join(given.words)
        if (bare := option.mark(Bare)) and typed.lower() in TRUTHS:
            return convert_word(option.hint, bare.value) if typed.lower() in ("true", "yes") else None
        is_null = typed == "null" and option.hint is not option.inner
        for text in [] if is_null or not option.choices else option.texts(given.words) if option.elements else [typed]:
            if text not in option.choices:
                close = difflib.get_close_matches(text, option.choices, n=1)
                meant = f" (did you mean {close[0]}?)" if close else ""
                raise UserError(f"{origin}{option.name} is one of {', '.join(option.choices)}, not '{text}'{meant}")
        if len(given.words) > 1 and not option.elements:
            raise UserError(f"{origin}{option.name} wants {option.wanted()}, not several")
        if option.elements and option.elements[0] in (str, Path):  # in YAML's quotes some texts would be others
            return typing.get_origin(option.inner)(map(option.elements[0], option.texts(given.words)))
        try:
            value = convert_word(option.hint, option.word(given.words))
        except ValueError:
            raise UserError(f"{origin}{option.name} wants {option.wanted()}, not '{typed}'") from None
        try:
            check_value(option, value)
        except UserError as error:
            raise UserError(f"{origin}{error}") from None
        return tuple(value) if typing.get_origin(option.inner) is tuple and value is not None else value

    @property
    def example_line(self) -> str:
        return f"{self.start or f'python -m {self.prog}'} {self.example}".strip()

    @property
    def usage(self) -> Iterator[str]:
        for option in self.options.values():
            if not option.positional and option.default is dataclasses.MISSING:
                yield f"{option.name} {option.metavar}"
            elif option.positional:
                name = option.metavar + ("..." if option.is_open else "")
                yield name if option.default is dataclasses.MISSING else f"[{name}]"
        if self.named and self.kind is not NoOptions:
            yield "[options]"
        if self.rest:
            yield "[-- options of the run]" if self.rest == "--" else "[options of the run]"

    def print_help(self, shown: Mapping[str, str]) -> NoReturn:
        """`shown`: values in place of the defaults, a recipe's."""
        first, _, rest = (self.description or self.kind.__doc__ or "").partition("\n")
        parser = argparse.ArgumentParser(
            usage=" ".join([self.start or f"python -m {self.prog}", *self.usage]),
            description=first,
            epilog="\n\n".join(filter(None, [inspected(rest), f"example: {self.example_line}"])),
            formatter_class=HelpFormatter,
        )
        groups: dict[str, Any] = {"": parser}
        meanings = dict(group_meanings(self.kind))
        documented = {option.key: option for option in options_of(self.kind, documented=True)}
        for key, option in {**documented, **{k: self.options[k] for k in self.options.keys() - documented}}.items():
            prefix = key.rpartition(".")[0]
            if prefix not in groups:
                groups[prefix] = parser.add_argument_group(f"{prefix} options", meanings[prefix])
            group = groups[prefix]
            text = option.help(shown.get(key))
            if option.mark(Bare):
                group.add_argument(option.name, nargs="?", metavar=option.metavar, help=text)
            elif option.positional:
                group.add_argument(key, nargs=option.nargs, metavar=option.metavar, help=text)
            elif option.is_flag:
                group.add_argument(option.name, action="store_true", help=text)
            else:
                group.add_argument(option.name, metavar=option.metavar, help=text)
        parser.print_help()
        sys.exit(0)


def inspected(text: str) -> str:
    """A docstring without its indentation and its `Args`."""
    import inspect

    return inspect.cleandoc(text.partition("Args:")[0])


def group_meanings(kind: type, prefix: str = "") -> Iterator[tuple[str, str]]:
    for each in dataclasses.fields(kind):
        hint = typing.get_type_hints(kind)[each.name]
        if dataclasses.is_dataclass(hint):
            yield f"{prefix}{each.name}", " ".join((hint.__doc__ or "").split())
            yield from group_meanings(typing.cast(type, hint), f"{prefix}{each.name}.")


def read_yaml(path: Path) -> dict[str, list[str]]:
    """Words by dotted key of a YAML file; null is left out. Raises UserError."""
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf8")) or {}
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None
    except (yaml.YAMLError, ValueError) as error:
        raise UserError(f"{path}: not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(tree, dict):
        raise UserError(f"{path}: want `option: value` lines")
    return dict(flatten_options(tree))


def convert_word(hint: Any, word: str) -> Any:
    """A word as a value of that type. Raises ValueError."""
    from jsonargparse import ArgumentParser  # half a second that --help and words without numbers need not wait for

    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--value", type=hint)
    try:
        return parser.parse_args([f"--value={word}"]).value
    except argparse.ArgumentError as error:
        raise ValueError(str(error)) from None


def flatten_options(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, list[str]]]:
    """{'data': {'width': 100}} -> ('data.width', ['100'])"""
    for name, value in tree.items():
        key = prefix + str(name).replace("-", "_")
        if isinstance(value, Mapping):
            yield from flatten_options(value, f"{key}.")
        elif value is not None:
            values = value if isinstance(value, list) else [value]
            yield key, [str(one).lower() if isinstance(one, bool) else str(one) for one in values] or ["[]"]


def build_dataclass(kind: type[T], values: Mapping[str, Any], prefix: str = "") -> T:
    """The dataclass with these values by dotted key; what is missing keeps its default."""
    hints = typing.get_type_hints(kind)
    arguments: dict[str, Any] = {}
    for each in dataclasses.fields(typing.cast(Any, kind)):
        key = prefix + each.name
        if dataclasses.is_dataclass(hints[each.name]):
            arguments[each.name] = build_dataclass(typing.cast(type, hints[each.name]), values, f"{key}.")
        elif key in values:
            arguments[each.name] = values[key]
    return kind(**arguments)


def check_value(option: Option, value: Any) -> None:
    """Raises UserError for a number out of bounds, a tuple's included."""
    if value is None or not isinstance(value, int | float | list | tuple):
        return
    bounds = option.mark(Bounds)
    if option.mark(Shares) and isinstance(value, list | tuple) and not (min(value) >= 0 and sum(value) > 0):
        raise UserError(f"{option.name} wants shares of 0 or more, not all of them 0")
    for number in value if isinstance(value, list | tuple) else [value]:
        if isinstance(number, bool) or not isinstance(number, int | float):
            continue
        if abs(number) > LARGEST or number != number:
            raise UserError(f"{option.name} wants {option.wanted()} of reasonable size, not {number}")
        if bounds and not bounds.allow(number):
            raise UserError(f"{option.name} is {bounds}, not {number}")


def check_values(kind: type, **values: Any) -> None:
    """Check values that did not come through a Command, the Python API's, as the options of `kind` are. UserError."""
    for option in options_of(kind):
        if option.key in values:
            check_value(option, values[option.key])


def check_bounds(options: Any) -> None:
    """Check a dataclass that was made by hand. Raises UserError."""
    for option in options_of(type(options)):
        check_value(option, operator.attrgetter(option.key)(options))
