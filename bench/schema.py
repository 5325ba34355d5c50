"""The description of a record's fields, as Markdown: `python -m bench.schema > results/README.md`."""

from __future__ import annotations

if not __package__:  # `python bench/schema.py`, from any folder: its own is on the path, and not the checkout
    __import__("sys").path.insert(0, __file__.rsplit("/", 2)[0])

from bench.errors import run_cli
from bench.options import Command, NoOptions
from bench.records import schema

PREFACE = """# Results

`runs/` holds one JSON file a run (git-ignored); `baselines/` what the gate compares with (committed);
`weights/` the last stages of the shipped weights' training (committed). This page is
made by `python -m bench.schema > results/README.md` from the declarations in `bench/records/sections.py` and
`record.py`; a test checks that it is current.

Units are in the names: `_s`, `_ms`, `_j`, `_w`, `_bytes`; a `_share` is 0..1. What was not measured is null, never 0.
Lists of numbers longer than 63 are packed without loss: `{"packed": ..., "as": "int64", "scale": 10000000, "n": 900}`
is base64 of zlib of byte planes; `bench.records.packing.unpack` reads it. `python -m bench.verify FILE...` derives
every field marked (derived) again, checks names and kinds, and compares the seal. A star: the names are data.
"""


def schema_page() -> str:
    """results/README.md: a table of fields for each section, and how to read them."""
    top = {
        name: one for name, one in schema.TOP.items() if not any(name == s.removesuffix("[]") for s in schema.SECTIONS)
    }
    tables = {"Top level": {name: one for name, one in top.items() if name not in schema.OPEN}}
    tables |= {f"{name}.*": {"*": top[name]} for name in top if name in schema.OPEN}
    tables |= schema.SECTIONS
    return PREFACE + "".join(section_table(name, fields) for name, fields in tables.items())


def section_table(name: str, fields: dict[str, schema.Declared]) -> str:
    rows = "".join(
        f"| `{field}` | {schema.describe_kind(one.kind)} | {one.unit} | {meaning(one)} |\n"
        for field, one in fields.items()
    )
    return f"\n## {name}\n\n| field | kind | unit | meaning |\n|---|---|---|---|\n{rows}"


def meaning(one: schema.Declared) -> str:
    return ("(derived) " * one.field.derived + one.field.meaning).replace("|", "\\|")


COMMAND = Command("bench.schema", NoOptions, description=__doc__)


def main(argv: list[str] | None = None) -> None:
    COMMAND.parse(argv)
    print(schema_page(), end="")


if __name__ == "__main__":
    run_cli(main, "bench.schema")
