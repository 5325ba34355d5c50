"""Which records measured the same thing. A cell is a place in the table; its repeats are records of one key. No torch.

The key holds every coordinate of the run, its recipe's hash, its data and every option that can move a number; so two
records of one key differ in nothing but luck, the commit and the hour.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from bench.records import provenance
from bench.records.record import Record

# Options that name places or say how to watch, and those that the cell holds already, as what really was. All others
# can move a number, and are part of the key.
NOT_COORDINATES = (
    "run", "seed", "results", "checkpoints", "checkpoint", "dataset", "resume", "log_every", "save_every", "strict",
    "overwrite", "allow", "validate_every", "validate_shown", "early_stop",
    "recipe", "device", "precision", "batch_size", "workers",
)  # fmt: skip


def coordinates(record: Record) -> dict[str, Any]:
    """What must agree before two numbers may be compared as repeats of each other."""
    return {
        "run": record.run,
        "cell": record.cell,
        "recipe": record.recipe.get("sha256"),
        "dataset": {name: record.dataset.get(name) for name in ("name", "split", "is_sample", "manifest_sha256")},
        "options": {name: value for name, value in record.options.items() if name not in NOT_COORDINATES},
    }


def key(record: Record) -> str:
    """A short name of the record's coordinates: equal for repeats, different for anything else."""
    text = json.dumps(coordinates(record), sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def flatten_names(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """{'cell': {'cards': 2}} -> {'cell.cards': 2}"""
    found: dict[str, Any] = {}
    for name, value in tree.items():
        found |= flatten_names(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": value}
    return found


def differing_coordinates(mine: dict[str, Any], theirs: dict[str, Any]) -> list[str]:
    """Names of the coordinates in which two cells differ."""
    mine, theirs = flatten_names(mine), flatten_names(theirs)
    return sorted(name for name in mine.keys() | theirs.keys() if mine.get(name) != theirs.get(name))


def code_version(record: Record) -> tuple[str | None, bool | None]:
    """The commit a record was made at, and whether the tree differed from it."""
    return record.provenance.get("commit"), record.provenance.get("dirty")


def group_repeats(records: list[Record], by_code: bool = True) -> list[list[Record]]:
    """Repeats together, in order of their first record; oldest first within. With `by_code` a commit is a group."""
    groups: dict[tuple[object, ...], list[Record]] = {}
    for record in sorted(records, key=lambda r: (r.started_utc, r.record_id)):
        groups.setdefault((key(record), code_version(record) if by_code else None), []).append(record)
    return list(groups.values())


def is_simulated_card(record: Record) -> bool:
    """Whether a stand-in played the card (tests/fake_mlu): such a record is no measurement of hardware."""
    versions = record.provenance.get("device_versions") or {}
    return bool(record.cell.get("simulated")) or provenance.is_simulated(versions)
