"""From records to rows: repeats of a cell become one, with median, interval and what it can detect. No torch here."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from bench.errors import UserError
from bench.judging.statistics import detectable, median_interval
from bench.records import cells
from bench.records.record import Record


@dataclass
class Row:
    """One cell at one commit. `notes` are footnotes, filled in by who compares; `scaling` and `speedup` likewise."""

    records: list[Record]
    scaling: float | None = None  # share of ideal, against the 1-card row
    speedup: float | None = None  # against the FP32 row
    notes: list[str] = field(default_factory=list)

    @property
    def first(self) -> Record:
        return self.records[0]

    @property
    def rates(self) -> list[float]:
        return known(r.throughput.get("images_per_s") for r in self.records)

    @property
    def rate(self) -> float | None:
        return self.middle(lambda r: r.throughput.get("images_per_s"))

    def middle(self, read: Callable[[Record], float | None]) -> float | None:
        """The median over the repeats that measured it."""
        values = known(map(read, self.records))
        return median(values) if values else None

    @property
    def coordinates(self) -> dict:
        """What must agree before two rows may be compared; the code counts, too."""
        commit, dirty = cells.code(self.first)
        return {**cells.coordinates(self.first), "commit": f"{commit}{'+' * bool(dirty)}"}

    @property
    def label(self) -> str:
        """How charts and footnotes call it."""
        return f"{self.first.run}, {self.first.cell['card']}, batch {self.first.cell['batch_per_card']}"


@dataclass(frozen=True)
class Failure:
    """A run that left no record: what bench.sweep wrote instead."""

    run: str
    status: str  # one of bench.machine.processes.Ended
    reason: str
    started_utc: str

    @classmethod
    def load(cls, path: Path) -> Failure:
        try:
            said = json.loads(path.read_text(encoding="utf8"))
            return cls(**{name: str(value) for name, value in said.items()})
        except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
            raise UserError(f"{path}: not the note of a failed run ({error})") from None


def known(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def latency(record: Record, batch: int, percentile: str) -> float | None:
    return next((row[percentile] for row in record.latency if row["batch"] == batch), None)


def accuracy(record: Record, name: str) -> float | None:
    return record.accuracy.get(name) if record.accuracy else None


def dataset(row: Row) -> str:
    return row.first.dataset["name"] + (" (sample)" if row.first.dataset["is_sample"] else "")


def commit(row: Row) -> str:
    hash_, dirty = cells.code(row.first)
    return (hash_ or "")[:9] + ("+" if dirty else "")


def memory_mib(record: Record) -> float | None:
    peaks = known(record.memory.get("peak_bytes") or [])
    return max(peaks) / 2**20 if peaks else None


def power(record: Record, name: str) -> float | None:
    return (record.power or {}).get(name)


def efficiency(record: Record, name: str) -> float | None:
    return (record.efficiency or {}).get(name)


def loadgen(row: Row) -> str | None:
    """MLPerf's own verdicts, where its load generator drove the run."""
    said = [r.loadgen for r in row.records if r.loadgen]
    return ", ".join(sorted({f"{one['scenario']} {one['verdict']}" for one in said})) or None


def skew(record: Record) -> float | None:
    """How much longer the slowest rank took than the fastest; says nothing of one rank."""
    return record.throughput.get("skew_share") if record.cell["cards"] > 1 else None


def percent(value: float | None) -> float | None:
    return None if value is None else value * 100


def interval(row: Row) -> str | None:
    bounds = median_interval(row.rates)
    return bounds and f"{bounds[0]:.1f} to {bounds[1]:.1f}"


def accuracy_interval(row: Row) -> str | None:
    """Wilson's interval of the first repeat: what so many words can tell."""
    low, high = (accuracy(row.first, f"word_accuracy_{side}") for side in ("low", "high"))
    return None if low is None else f"{low * 100:.2f} to {high * 100:.2f}"


def source_of_input(row: Row) -> str:
    """Where the pictures come from, and which half of a step was left out, if one was."""
    cell = row.first.cell
    return " without ".join(filter(None, (cell.get("input"), cell.get("without"))))


def status(row: Row) -> str:
    return ", ".join(sorted({r.status for r in row.records}))


# A column is a row here: its heading, how it is printed, where it comes from. Adding a metric is adding a row.
COLUMNS: dict[str, tuple[str, Callable[[Row], object]]] = {
    "run": ("", lambda row: row.first.run),
    "dataset": ("", dataset),
    "card": ("", lambda row: row.first.cell["card"]),
    "cards": ("d", lambda row: row.first.cell["cards"]),
    "precision": ("", lambda row: row.first.cell["precision"]),
    "batch": ("d", lambda row: row.first.cell["batch_per_card"]),
    "input": ("", source_of_input),
    "runs": ("d", lambda row: len(row.records)),
    "status": ("", status),
    "images/s": (".1f", lambda row: row.rate),
    "95 % interval": ("", interval),
    "detects %": (".1f", lambda row: percent(detectable(row.rates))),
    "images/s/card": (".1f", lambda row: row.middle(lambda r: r.throughput.get("images_per_s_per_card"))),
    "scaling %": (".1f", lambda row: percent(row.scaling)),
    "x FP32": (".2f", lambda row: row.speedup),
    "step p50 ms": (".2f", lambda row: row.middle(lambda r: r.throughput.get("step_p50_ms"))),
    "step p99 ms": (".2f", lambda row: row.middle(lambda r: r.throughput.get("step_p99_ms"))),
    "core images/s": (".1f", lambda row: row.middle(lambda r: r.throughput.get("images_per_s_core"))),
    "whole run images/s": (".1f", lambda row: row.middle(lambda r: r.throughput.get("images_per_s_end_to_end"))),
    "slowest rank behind %": (".1f", lambda row: percent(row.middle(skew))),
    "data wait %": (".2f", lambda row: percent(row.middle(lambda r: r.throughput.get("data_wait_share")))),
    "batch-1 p50 ms": (".2f", lambda row: row.middle(lambda r: latency(r, 1, "p50_ms"))),
    "batch-1 p99 ms": (".2f", lambda row: row.middle(lambda r: latency(r, 1, "p99_ms"))),
    "words read %": (".2f", lambda row: percent(row.middle(lambda r: accuracy(r, "word_accuracy")))),
    "words read 95 %": ("", accuracy_interval),
    "n": ("d", lambda row: accuracy(row.first, "n")),
    "memory MiB": (".0f", lambda row: row.middle(memory_mib)),
    "MFU %": (".1f", lambda row: percent(row.middle(lambda r: efficiency(r, "mfu_share")))),
    "power W": (".1f", lambda row: row.middle(lambda r: power(r, "mean_w"))),
    "J/1k images": (".1f", lambda row: row.middle(lambda r: power(r, "j_per_1k_images"))),
    "MLPerf": ("", loadgen),
    "commit": ("", commit),
}


def values(row: Row | Failure) -> dict[str, object]:
    """A row's cells as they are, not as they are printed. A failed run has a name and a reason only."""
    if isinstance(row, Failure):
        return {**dict.fromkeys(COLUMNS), "run": row.run, "status": row.status}
    return {name: read(row) for name, (_, read) in COLUMNS.items()}


def printed(name: str, value: object) -> str:
    """One cell as people read it; empty where nothing was measured."""
    return "" if value is None else format(value, COLUMNS[name][0])


def warned(records: list[Record]) -> list[str]:
    """A footnote when a check before a run warned; the record has its words."""
    checks = sorted({found["check"] for r in records for found in r.preflight if found["level"] == "warning"})
    return [f"warned before the run: {', '.join(checks)}"] if checks else []


def fell_back(records: list[Record]) -> list[str]:
    """A footnote when operators ran on the host: the row is no measurement of the card alone."""
    operators = sorted({name for r in records for name in r.fallbacks})
    return [f"in part the host's speed: the card has no kernel for {', '.join(operators)}"] if operators else []


def rows_of(records: list[Record], every_commit: bool = True) -> list[Row]:
    """A row for each cell and commit; or, for each cell, of its newest commit alone."""
    rows = [Row(group, notes=[*fell_back(group), *warned(group)]) for group in cells.grouped(records)]
    if not every_commit:
        rows = list({cells.key(row.first): row for row in sorted(rows, key=newest)}.values())
    return sorted(rows, key=place)


def newest(row: Row) -> str:
    return row.records[-1].started_utc


def place(row: Row) -> tuple:
    """Where a reader looks for a row: rows to be compared stand together."""
    cell = row.first.cell
    return (row.first.task == "Infer", cell["model"], cell["device"], cell["card"], cell["precision"], cell["cards"],
            cell["batch_per_card"], newest(row))  # fmt: skip
