"""The description of a record's fields, as Markdown: `python -m bench.schema > results/README.md`."""

from __future__ import annotations

from bench.options import Command, NoOptions
from bench.records.schema import FIELDS

PREFACE = """# Results

`runs/` holds one JSON file a run (git-ignored); `baselines/` what the gate compares with (committed);
`weights/` the last stages of the shipped weights' training (committed). This page is
made by `python -m bench.schema > results/README.md` from `bench/records/schema.py`; a test checks that it is current.

Units are in the names: `_s`, `_ms`, `_j`, `_w`, `_bytes`; a `_share` is 0..1. What nobody measured is null, never 0.
Lists of numbers longer than 63 are packed without loss: `{"packed": ..., "as": "int64", "scale": 10000000, "n": 900}`
is base64 of zlib of byte planes; `bench.records.packing.unpack` reads it. `python -m bench.verify FILE...` derives
every field marked (derived) again and compares the seal.
"""


def markdown() -> str:
    parts = [PREFACE]
    for section, fields in FIELDS.items():
        parts.append(f"\n## {section or 'Top level'}\n\n| field | meaning |\n|---|---|\n")
        parts += [f"| `{field}` | {meaning} |\n" for field, meaning in fields.items()]
    return "".join(parts)


COMMAND = Command("bench.schema", NoOptions, description=__doc__)

if __name__ == "__main__":
    COMMAND.parse()
    print(markdown(), end="")
