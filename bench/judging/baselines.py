"""The committed baselines: what each cell measured on each card when a person last accepted it. No torch here.

One JSON file a cell and card, its name made of both, so that a new baseline is a diff that a reviewer reads.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from bench.errors import UserError
from bench.files import write_file
from bench.judging.noise import slug
from bench.judging.policy import TOLERANCES
from bench.records import cells
from bench.records.record import Record


def baseline_path(record: Record, folder: Path) -> Path:
    return folder / f"{record.run}.{slug(record.cell['card'])}.{cells.key(record)}.json"


def load_baseline(record: Record, folder: Path) -> dict[str, Any] | None:
    """The baseline of this record's card and key; None where there is none. Raises UserError for a broken file."""
    path = baseline_path(record, folder)
    if not path.exists():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf8"))
        values = {name: [float(v) for v in numbers] for name, numbers in content["values"].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: not a baseline ({error}); make one with bench.gate --promote") from None
    if (content.get("card"), content.get("key")) != (record.cell["card"], cells.key(record)):
        raise UserError(f"{path}: is of card {content.get('card')}, key {content.get('key')}: it was renamed or edited")
    return {**content, "values": values}


def store_baseline(group: list[Record], folder: Path) -> Path:
    """Repeats of one cell become its baseline."""
    first, path = group[0], baseline_path(group[0], folder)
    values = {name: [v for v in map(t.read, group) if v is not None] for name, t in TOLERANCES.items()}
    content = {
        "run": first.run,
        "card": first.cell["card"],
        "key": cells.key(first),
        "coordinates": cells.coordinates(first),
        "commit": first.provenance.get("commit"),
        "record_ids": [record.record_id for record in group],
        "measured_utc": first.started_utc,
        "values": {name: numbers for name, numbers in values.items() if numbers},
    }
    return write_file(path, json.dumps(content, indent=1, default=str) + "\n")


def why_new(record: Record, folder: Path) -> str:
    """Why a record has no baseline: nothing of its run, another card, or other coordinates."""
    others = sorted(folder.glob(f"{record.run}.*.json"))
    same_card = [path for path in others if path.name.startswith(f"{record.run}.{slug(record.cell['card'])}.")]
    if same_card:
        return f"new: {same_card[0].name} is of other settings ({differing_settings(record, same_card[0])})"
    if others:
        return f"new: the baseline {others[0].name} is of another card, and cards are not compared"
    return "new: no baseline of this run; bench.gate --promote makes one"


def differing_settings(record: Record, path: Path) -> str:
    """Names of the coordinates in which the record and a baseline differ."""
    try:
        theirs = json.loads(path.read_text(encoding="utf8"))["coordinates"]
        mine = json.loads(json.dumps(cells.coordinates(record), default=str))
        return ", ".join(cells.differing_coordinates(mine, theirs))
    except (ValueError, KeyError, TypeError, AttributeError):
        return "unreadable"
