"""Which records measured the same thing, in three parts. No torch here.

configuration  what was asked for: run name, recipe, cell, data and weights by their content, options that move a number
environment    what it ran on: machine class, torch, vendor libraries, driver, image, variables that change arithmetic
build          which code: commit, and what the tree had more

Repeats agree in all three. Builds are compared within one configuration and one environment; a history follows a
configuration and starts anew where its environment changes. Where outputs went and where files lay is no part of any.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from bench.records import provenance
from bench.records.record import FAILURES, Record

# Options that name places, say how to watch or how long, and those that the cell holds already, as what really was. All
# others can move a number.
NOT_COORDINATES = (
    "run", "seed", "results", "checkpoints", "checkpoint", "dataset", "resume", "log_every", "save_every", "strict",
    "overwrite", "allow", "validate_every", "validate_shown", "early_stop",
    "recipe", "recipes", "device", "precision", "batch_size", "workers", "mistakes", "curves", "min_steps",
    "min_seconds", "tolerate", "profile_steps", "latency_runs", "test_only",
)  # fmt: skip
# Options younger than baselines that people keep: at these values they change nothing, and are as good as absent.
YOUNGER = {"accumulate": 1, "ema": None, "freeze": None, "nonfinite": "skip"}
BY_CONTENT = {"charset_sha256": "charset", "lexicon_sha256": "lexicon", "weights_sha256": "start_from"}
DATA = ("name", "split", "is_sample", "manifest_sha256", "digest_sha256")
NOT_ARITHMETIC = ("pandas",)  # packages that read or write what was measured, and measure nothing
# Set by torchrun for its processes, whatever the user did: one card has none, and computes the same.
LAUNCHERS = ("TORCH_DISABLE_SHARE_RDZV_TCP_STORE", "TORCH_NCCL_ASYNC_ERROR_HANDLING")
CARD_FACTS = ("driver", "power_limit_w", "mig", "ecc")


def configuration(record: Record) -> dict[str, Any]:
    """What was asked for. Weights count: `speed_configuration` is without them."""
    contents = {name: value for name, value in contents_of(record).items() if value is not None}
    return {
        "run": record.run,
        "cell": {name: value for name, value in record.cell.items() if name != "card"},
        "recipe": record.recipe.get("sha256"),
        "dataset": {name: record.dataset.get(name) for name in DATA},
        "options": chosen_options(record.options, {BY_CONTENT[name] for name in contents_of(record)}),
        "contents": contents,
    }


def contents_of(record: Record) -> dict[str, Any]:
    return record.provenance.get("contents") or {}


def chosen_options(options: dict[str, Any], by_content: set[str]) -> dict[str, Any]:
    """Options that can move a number. Files whose content was hashed are left out: their names say nothing."""
    found = {name: value for name, value in options.items() if name not in {*NOT_COORDINATES, *by_content}}
    found = {name: value for name, value in found.items() if name not in YOUNGER or value != YOUNGER[name]}
    if "charset" in by_content and isinstance(found.get("data"), dict):
        found["data"] = {name: value for name, value in found["data"].items() if name != "charset"}
    if by_content:  # such records hold the data's content, too
        found.pop("sets", None)
    return found


def speed_configuration(record: Record) -> dict[str, Any]:
    """The configuration without the weights' values: other weights of one shape take the same time."""
    found = configuration(record)
    contents = {name: value for name, value in found["contents"].items() if name != "weights_sha256"}
    return {**found, "contents": contents}


def environment(record: Record) -> dict[str, Any]:
    """What it ran on, as a class of machines: two hosts of one kind are one environment."""
    where = record.provenance
    cards = [{name: card.get(name) for name in CARD_FACTS} for card in where.get("cards") or []]
    versions = {name: value for name, value in (where.get("versions") or {}).items() if name not in NOT_ARITHMETIC}
    variables = {
        name: value
        for name, value in (where.get("environment") or {}).items()
        if not name.endswith("VISIBLE_DEVICES") and name not in LAUNCHERS
    }
    return {
        "card": record.cell.get("card"),
        "cards": [card for i, card in enumerate(cards) if card not in cards[:i]],
        "cpu": where.get("cpu"),
        "cpu_cores": where.get("cpu_cores"),
        "image_digest": where.get("image_digest"),
        "python": where.get("python"),
        "versions": versions,
        "device_versions": where.get("device_versions") or {},
        "variables": variables,
    }


def build_of(record: Record) -> dict[str, Any]:
    """Which code."""
    return {name: record.provenance.get(name) for name in ("commit", "dirty", "diff_sha256")}  # type: ignore[misc]


def coordinates(record: Record) -> dict[str, Any]:
    """What must agree before two numbers may be compared."""
    return {**configuration(record), "environment": environment(record)}


def short_hash(value: object) -> str:
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def key(record: Record) -> str:
    """A short name of configuration and environment: equal where two builds may be compared."""
    return short_hash(coordinates(record))


def speed_key(record: Record) -> str:
    """The same without the weights' values."""
    return short_hash({**speed_configuration(record), "environment": environment(record)})


def configuration_key(record: Record) -> str:
    """A short name of what a history follows: other weights of one shape, and other machines, are within it."""
    return short_hash(speed_configuration(record))


def weights_digest(record: Record) -> str | None:
    digest: str | None = contents_of(record).get("weights_sha256")
    return digest


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


def is_failed(record: Record) -> bool:
    """Whether the run ended early: its numbers are of a part of it."""
    return record.status in FAILURES


def group_repeats(records: list[Record], by_code: bool = True) -> list[list[Record]]:
    """Repeats together, in order of their first record; oldest first within. With `by_code` a build is a group.

    A failed run is alone: its numbers are no repeat of anything.
    """
    groups: dict[tuple[object, ...], list[Record]] = {}
    for record in sorted(records, key=lambda r: (r.started_utc, r.record_id)):
        alone = record.record_id if is_failed(record) else None
        groups.setdefault((key(record), short_hash(build_of(record)) if by_code else None, alone), []).append(record)
    return list(groups.values())


def is_simulated_card(record: Record) -> bool:
    """Whether a stand-in played the card (tests/fake_mlu): such a record is no measurement of hardware."""
    versions = record.provenance.get("device_versions") or {}
    return bool(record.cell.get("simulated")) or provenance.is_simulated(versions)


def unfit(record: Record) -> str | None:
    """Why a record may not stand for a build, as a baseline or against one; None where it may."""
    if is_failed(record):
        return f"it ended in {record.status}"
    if record.status == "too_short":
        return "it is too short: " + "; ".join(record.status_reasons)
    if record.cell.get("without") in ("compute", "sync"):
        return f"it is an ablation, without {record.cell['without']}"
    if record.provenance.get("dirty"):
        return "its tree differed from its commit"
    if record.provenance.get("commit") is None:
        return "it names no commit"
    return "its card was simulated" if is_simulated_card(record) else None
