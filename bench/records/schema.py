"""What a record's declarations say, as tables: names, kinds and units of its fields, and what in a record breaks them.

A field that a program writes and no section declares is a fault that bench.verify names.
"""

from __future__ import annotations

import types
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints, is_typeddict

from bench.records.record import Record
from bench.records.sections import UNITS, Field, Seal

TEXT = {str: "text", int: "integer", float: "number", bool: "true or false", type(None): "null", Any: "any"}


@dataclass(frozen=True)
class Declared:
    """A field as its section declares it."""

    name: str
    kind: Any  # a type hint
    field: Field

    @property
    def unit(self) -> str:
        return self.field.unit or next((unit for end, unit in UNITS.items() if self.name.endswith(end)), "")


def declared(section: type) -> dict[str, Declared]:
    """The fields of a section (or of Record itself), in their order; those that are no field of the file left out."""
    found = {}
    for name, hint in get_type_hints(section, include_extras=True).items():
        if get_origin(hint) is Annotated:
            kind, field = get_args(hint)
            found[name] = Declared(name, kind, field)
    return found


def section_of(kind: Any) -> type | None:
    """The TypedDict in `Cell`, `Cell | None` or `list[Cell]`; None where there is none."""
    if is_typeddict(kind):
        return kind  # type: ignore[no-any-return]  # is_typeddict does not narrow
    return next((found for part in get_args(kind) if (found := section_of(part))), None)


TOP = declared(Record)
SECTIONS: dict[str, dict[str, Declared]] = {
    name + "[]" * (get_origin(one.kind) is list): declared(section)
    for name, one in TOP.items()
    if (section := section_of(one.kind))
} | {"seal": declared(Seal)}
OPEN = {name for name, one in TOP.items() if get_origin(one.kind) is dict}  # sections whose names are data


def describe_kind(kind: Any) -> str:
    """A type hint in the words of JSON: `float | None` is "number or null"."""
    if get_origin(kind) in (types.UnionType, Union):
        return " or ".join(describe_kind(part) for part in get_args(kind))
    if get_origin(kind) is list:
        return f"list of {describe_kind(get_args(kind)[0])}"
    return "object" if get_origin(kind) is dict or is_typeddict(kind) else TEXT[kind]


def is_of_kind(value: object, kind: Any) -> bool:
    """Whether a JSON value is of a kind that a section declares, lists and dictionaries at their first level.

    Items of long lists are numbers or null, as packing made them; they are not looked at one by one.
    """
    origin = get_origin(kind)
    if origin in (types.UnionType, Union):
        return any(is_of_kind(value, part) for part in get_args(kind))
    if kind is Any:
        return True
    if kind is float:
        return isinstance(value, int | float)
    return isinstance(value, dict if is_typeddict(kind) else origin or kind)


def mistyped(record: dict[str, Any]) -> Iterator[str]:
    """Fields of another kind than declared: a table could not even be sorted by a name that is no text."""
    for name, fields in SECTIONS.items():
        content = record.get(name.removesuffix("[]")) or []
        for row in content if isinstance(content, list) else [content]:
            for field in fields.keys() & row.keys():
                if not is_of_kind(row[field], fields[field].kind):
                    yield f"{name}.{field} is {str(row[field])[:40]!r}, not {describe_kind(fields[field].kind)}"


def undeclared(record: dict[str, Any]) -> Iterator[str]:
    """Names in a record that no section declares: `field`, `section.field`, `section[].field`."""
    for name, value in record.items():
        if name not in TOP:
            yield name
            continue
        section = name + "[]" * isinstance(value, list)
        rows = value if isinstance(value, list) else [value]
        if name not in OPEN and section in SECTIONS:
            extra = {field for row in rows if isinstance(row, dict) for field in row} - SECTIONS[section].keys()
            yield from (f"{section}.{field}" for field in sorted(extra))
