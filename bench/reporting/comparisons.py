"""Which rows may be compared, and what comes out. Where they may not, a footnote says why. No torch here.

Two rows are compared only when nothing differs but what the comparison is about: model, batch, decoding, data, options
and code agree. A ratio of unlike things is the commonest lie of benchmark tables.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations

from bench.records.cells import differing_coordinates
from bench.reporting.rows import Ratio, Row

# What each comparison is about: the coordinates that may, and the one that must, differ.
SCALING = {"run", "cell.cards", "cell.hosts", "cell.global_batch"}
PRECISION = {"run", "cell.precision"}
DEVICES = {"run", "cell.device", "cell.threads_per_card", "cell.workers_per_card", "environment."}  # all of it


@dataclass(frozen=True)
class Pair:
    """One device against a slower one at the same work; no ratio where they do not agree."""

    one: Row
    other: Row
    ratio: Ratio | None
    note: str = ""


def compare_rows(rows: list[Row]) -> list[Pair]:
    """Fill in scaling and speed-up of every row, with their footnotes, and return the pairs of devices."""
    for row in rows:
        row.scaling = scaling(row, rows)
        row.speedup = speedup(row, rows)
    return compare_devices(rows)


def ratio_of(row: Row, base: Row, value: float) -> Ratio:
    """With the uncertainty of both; of a single unsteady run that of its own steps."""
    sides = (row.uncertainty, base.uncertainty)
    return Ratio(value, None if None in sides else math.hypot(*(side or 0.0 for side in sides)))


def scaling(row: Row, rows: list[Row]) -> Ratio | None:
    """Share of ideal: images/s over cards x images/s of the 1-card row."""
    if row.first.cell["cards"] == 1 or not row.rate:
        return None
    base = matching_row(row, (r for r in rows if r.first.cell["cards"] == 1), SCALING, "scaling", "1-card row")
    return ratio_of(row, base, row.rate / (row.first.cell["cards"] * base.rate)) if base else None


def speedup(row: Row, rows: list[Row]) -> Ratio | None:
    if row.first.cell["precision"] == "FP32" or not row.rate:
        return None
    base = matching_row(row, (r for r in rows if r.first.cell["precision"] == "FP32"), PRECISION, "x FP32", "FP32 row")
    return ratio_of(row, base, row.rate / base.rate) if base else None


def matching_row(row: Row, others: Iterable[Row], about: set[str], column: str, wanted: str) -> Row | None:
    """The row of the same task and model that agrees in all but `about`; else None, and a footnote on what differs."""
    same = [o for o in others if same_work(row, o) and o.rate and o.first.cell["card"] == row.first.cell["card"]]
    if not same:
        return None
    best = min(same, key=lambda other: len(disagreements(row, other, about)))
    if names := disagreements(row, best, about):
        row.notes.append(f"{column} empty: the nearest {wanted} differs in {list_names(names)}")
        return None
    return best


def same_work(one: Row, other: Row) -> bool:
    """The same kind of work at all; without this there is nothing to explain."""
    return (one.first.task, one.first.cell["model"]) == (other.first.task, other.first.cell["model"])


def disagreements(one: Row, other: Row, about: set[str]) -> list[str]:
    sections = tuple(name for name in about if name.endswith("."))
    names = differing_coordinates(one.coordinates, other.coordinates)
    return [name for name in names if name not in about and not (sections and name.startswith(sections))]


def list_names(names: list[str]) -> str:
    """At most four names, without the section they stand in."""
    short = [name.rpartition(".")[2].replace("_", " ") for name in names]
    return ", ".join(short[:4]) + (f" and {len(short) - 4} more" if len(short) > 4 else "")


def compare_devices(rows: list[Row]) -> list[Pair]:
    """For each two cards, task, model, precision and number of cards: the best agreeing pair, or why there is none."""
    kinds: dict[tuple[object, ...], dict[str, list[Row]]] = {}
    for row in rows:
        cell = row.first.cell
        kind = (row.first.task, cell["model"], cell["precision"], cell["cards"])
        if row.rate:
            kinds.setdefault(kind, {}).setdefault(cell["card"], []).append(row)
    return [best_pair(kind[a], kind[b]) for kind in kinds.values() for a, b in combinations(sorted(kind), 2)]


def best_pair(ones: list[Row], others: list[Row]) -> Pair:
    one, other = min(
        ((a, b) for a in ones for b in others),
        key=lambda two: (len(disagreements(two[0], two[1], DEVICES)), -two[0].first.cell["batch_per_card"]),
    )
    if one.rate < other.rate:
        one, other = other, one
    if names := disagreements(one, other, DEVICES):
        return Pair(one, other, None, f"not compared: {list_names(names)} differ")
    return Pair(one, other, ratio_of(one, other, one.rate / other.rate))
