"""Content hashes of a record: one over the whole body, and a short one a cell, so that an edited cell can be named.

A seal shows that a file is what the program wrote. It is no signature: who can run the program can seal again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any

SHORT = 12  # hex digits of a cell's hash: enough to see a change, short enough to read past


def canonical_sha256(value: object) -> str:
    """sha256 of the canonical JSON: keys sorted, no spaces, doubles as Python writes them (the shortest that reads
    back the same)."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.sha256(text.encode("utf8")).hexdigest()


def sealed_fields(body: dict[str, Any]) -> Iterator[tuple[str, object]]:
    """(name, value) of every field, and of every field inside a section."""
    for name, value in body.items():
        if isinstance(value, dict) and "packed" not in value and value:
            yield from ((f"{name}.{inner}", one) for inner, one in value.items())
        else:
            yield name, value


def sealed(body: dict[str, Any]) -> dict[str, Any]:
    """`body` (a JSON object) with its seal."""
    return {
        **body,
        "seal": {
            "sha256": canonical_sha256(body),
            "cells": {name: canonical_sha256(v)[:SHORT] for name, v in sealed_fields(body)},
        },
    }


def altered(content: dict[str, Any]) -> list[str]:
    """Names of the cells that are not what was sealed; empty when all are. A record without a seal: ["seal"]."""
    body = {name: value for name, value in content.items() if name != "seal"}
    seal = content.get("seal")
    if not isinstance(seal, dict) or not isinstance(seal.get("cells"), dict):
        return ["seal"]
    now = {name: canonical_sha256(value)[:SHORT] for name, value in sealed_fields(body)}
    wrong = sorted(name for name in {*now, *seal["cells"]} if now.get(name) != seal["cells"].get(name))
    return wrong or ([] if canonical_sha256(body) == seal.get("sha256") else ["seal.sha256"])
