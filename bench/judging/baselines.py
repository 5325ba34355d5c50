"""The committed baselines: what each cell measured in each environment when a person last accepted it. No torch here.

One JSON file a cell and card, its name made of both, so that a new baseline is a diff that a reviewer reads. It holds
sittings: values of several occasions, since one occasion says nothing of how far occasions lie apart.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.errors import UserError
from bench.files import read_regular, write_file
from bench.judging.noise import slug
from bench.judging.policy import TOLERANCES
from bench.judging.session import words_read
from bench.judging.sittings import Sittings, split_sittings
from bench.records import cells
from bench.records.packing import packed_tree, unpacked_tree
from bench.records.record import Record

MOST_SITTINGS = 40  # kept; older ones make room


@dataclass(frozen=True)
class Baseline:
    """A cell's baseline: sittings, oldest first, each a dictionary with commit, record_ids, values and the like."""

    path: Path
    run: str
    card: str
    configuration: str  # its key
    weights: str | None
    sittings: list[dict[str, Any]]

    def of_commit(self, commit: str | None) -> list[dict[str, Any]]:
        return [sitting for sitting in self.sittings if sitting["commit"] == commit]

    @property
    def accepted(self) -> list[dict[str, Any]]:
        """The sittings of the build that was accepted last."""
        return self.of_commit(self.sittings[-1]["commit"])

    def values(self, metric: str) -> Sittings:
        """Of the accepted build."""
        return values_of(self.accepted, metric)

    def earlier(self, metric: str) -> list[Sittings]:
        """Of builds accepted before it: they say how far sittings lie apart here."""
        commits = dict.fromkeys(s["commit"] for s in self.sittings if s["commit"] != self.sittings[-1]["commit"])
        found = [values_of(self.of_commit(commit), metric) for commit in commits]
        return [values for values in found if len(values) > 1]

    @property
    def words(self) -> list[int]:
        """Which words the accepted build reads; empty where that was not kept."""
        return list(self.accepted[-1].get("words") or [])


def values_of(sittings: list[dict[str, Any]], metric: str) -> Sittings:
    return [values for sitting in sittings if (values := sitting["values"].get(metric))]


def baseline_path(record: Record, folder: Path) -> Path:
    return folder / f"{record.run}.{slug(record.cell['card'])}.{cells.speed_key(record)}.json"


def load_baseline(record: Record, folder: Path) -> Baseline | None:
    """The baseline of this record's configuration and environment; None where there is none.

    Raises UserError for a broken file.
    """
    path = baseline_path(record, folder)
    if not path.exists():
        return None
    found, key = read_baseline(path)
    if (found.card, key) != (record.cell["card"], cells.speed_key(record)):
        raise UserError(f"{path}: is of card {found.card}, key {key}: it was renamed or edited")
    return found


def read_baseline(path: Path) -> tuple[Baseline, str]:
    """A baseline and its key. Raises UserError for a broken file."""
    try:
        content = unpacked_tree(json.loads(read_regular(path)))
        sittings = content["sittings"]
        for sitting in sittings:
            sitting["values"] = {name: [float(v) for v in values] for name, values in sitting["values"].items()}
            sitting["commit"], sitting["record_ids"]
        if not sittings:
            raise ValueError("it has no sittings")
        names = ("run", "card", "configuration", "weights")
        return Baseline(path=path, sittings=sittings, **{name: content[name] for name in names}), content["key"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: not a baseline ({error}); make one with bench.gate --promote") from None


def store_baseline(group: list[Record], folder: Path) -> Path:
    """Repeats of one build become, or are added to, the baseline of their cell. A sitting is stored once."""
    first, path = group[0], baseline_path(group[0], folder)
    known = load_baseline(first, folder)
    mine = {record.record_id for record in group}
    kept = [one for one in (known.sittings if known else []) if not mine & set(one["record_ids"])]
    sittings = [*kept, *(sitting_content(one) for one in split_sittings(group))]
    last = cells.build_of(first)["commit"]
    sittings.sort(key=lambda one: (one["commit"] == last, one["measured_utc"]))
    content = {
        "run": first.run,
        "card": first.cell["card"],
        "key": cells.speed_key(first),
        "configuration": cells.configuration_key(first),
        "weights": cells.weights_digest(first),
        "coordinates": cells.coordinates(first),
        "sittings": packed_tree(sittings[-MOST_SITTINGS:]),
    }
    return write_file(path, json.dumps(content, indent=1, default=str) + "\n")


def sitting_content(records: list[Record]) -> dict[str, Any]:
    values = {name: [v for v in map(t.read, records) if v is not None] for name, t in TOLERANCES.items()}
    return {
        "commit": records[0].provenance.get("commit"),
        "host": records[0].provenance.get("host"),
        "measured_utc": records[0].started_utc,
        "record_ids": [record.record_id for record in records],
        "values": {name: numbers for name, numbers in values.items() if numbers},
        "words": words_read(records[-1]) or None,
    }


def unmeasured_baselines(records: list[Record], folder: Path) -> list[Baseline]:
    """Baselines of the cards of these records whose configuration none of them has."""
    cards, measured = {r.cell["card"] for r in records}, {cells.configuration_key(r) for r in records}
    everything = [read_baseline(path)[0] for path in sorted(folder.glob("*.json")) if path.name[:6] != "noise."]
    return [one for one in everything if one.card in cards and one.configuration not in measured]


def why_new(record: Record, folder: Path) -> str:
    """Why a record has no baseline: nothing of its run, another card, or other coordinates."""
    others = sorted(folder.glob(f"{record.run}.*.json"))
    same_card = [path for path in others if path.name.startswith(f"{record.run}.{slug(record.cell['card'])}.")]
    if same_card:
        return f"new: not comparable with {same_card[0].name}: {differing_settings(record, same_card[0])} differ"
    if others:
        return f"new: the baseline {others[0].name} is of another card, and cards are not compared"
    return "new: no baseline of this run; bench.gate --promote makes one"


def differing_settings(record: Record, path: Path) -> str:
    """Names of the coordinates in which the record and a baseline differ."""
    try:
        theirs = json.loads(read_regular(path))["coordinates"]
        mine = json.loads(json.dumps(cells.coordinates(record), default=str))
        return ", ".join(cells.differing_coordinates(mine, theirs))
    except (ValueError, KeyError, TypeError, AttributeError):
        return "unreadable"
