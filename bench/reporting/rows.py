"""From records to rows: repeats of a cell become one, with median, interval and what it can detect. No torch here."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Literal

from bench.errors import UserError
from bench.files import read_regular
from bench.judging.statistics import detectable_change, log_sd, median_interval, t_quantile
from bench.judging.verdict import AMBIGUOUS, FAIL, PASS, Finding
from bench.records import cells
from bench.records.record import Record
from bench.records.schema import SECTIONS
from bench.reporting.index import Entry

FEWEST_RUNS = 3  # repeats whose spread says something
MOST_BUILDS, BLOCKS = 12, "▁▂▃▄▅▆▇█"  # of a trend
WIDE = 0.5  # an interval of more than this says nothing, and is not printed


@dataclass(frozen=True)
class Ratio:
    """Of two rates, and by how much either way it may be off, as a share of it; None where that is not known."""

    value: float
    bound: float | None

    def show(self, form: str, factor: float = 1) -> str:
        value = format(self.value * factor, form)
        return value if self.bound is None else f"{value} ± {self.value * factor * self.bound:.2g}"


@dataclass
class Row:
    """One cell at one commit. `notes` are footnotes, filled in by who compares; `scaling` and `speedup` likewise."""

    records: list[Record]
    scaling: Ratio | None = None  # share of ideal, against the 1-card row
    speedup: Ratio | None = None  # against the FP32 row
    previous: Finding | None = None  # against the build measured before
    previous_commit: str = ""
    baseline: Finding | None = None
    history: list[Entry] = field(default_factory=list)  # every build of its cell, oldest first
    notes: list[str] = field(default_factory=list)

    @property
    def first(self) -> Record:
        return self.records[0]

    @property
    def rates(self) -> list[float]:
        return drop_none(r.throughput.get("images_per_s") for r in self.records)

    @property
    def rate(self) -> float:
        """images/s, the median of the repeats; 0 where none measured it: such a row is compared with no other."""
        return self.middle(lambda r: r.throughput.get("images_per_s")) or 0.0

    def middle(self, read: Callable[[Record], float | None]) -> float | None:
        """The median over the repeats that measured it."""
        values = drop_none(map(read, self.records))
        return median(values) if values else None

    @property
    def uncertainty(self) -> float | None:
        """Half the 95 % interval of the rate, as a share: between runs from three on, else within their own steps."""
        if len(self.rates) >= FEWEST_RUNS:
            n = len(self.rates)
            return t_quantile(0.975, n - 1) * log_sd(self.rates) / math.sqrt(n)
        within = drop_none(record.steady.get("rate_bound_share") for record in self.records)
        between = [math.log(max(self.rates) / min(self.rates)) / 2] if self.rates else []  # of two runs, at least this
        return max(*within, *between, 0.0) if len(within) == len(self.records) else None

    @property
    def coordinates(self) -> dict[str, Any]:
        """What must agree before two rows may be compared; the code counts, too."""
        commit, dirty = cells.code_version(self.first)
        return {**cells.coordinates(self.first), "commit": f"{commit}{'+' * bool(dirty)}"}

    @property
    def label(self) -> str:
        """Its name in charts and footnotes."""
        how = variant(self)
        return f"{self.first.run}, {self.first.cell['card']}, batch {self.first.cell['batch_per_card']}" + (
            f", {how}" if how else ""
        )


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
            content = json.loads(read_regular(path))
            return cls(**{name: str(value) for name, value in content.items()})
        except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
            raise UserError(f"{path}: not the note of a failed run ({error})") from None


Rows = Sequence[Row | Failure]


def drop_none(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]


@dataclass(frozen=True)
class ReportColumn:
    """A column: how a value is printed, and where a row has it."""

    form: str
    read: Callable[[Row], object]


def declared_column(name: str) -> tuple[str, ReportColumn]:
    """(heading, column) of a field such as `throughput.images_per_s`, as its declaration in sections.py has it.

    Of the repeats in a row a number with decimals is the median of those that have it; anything else is the first's.
    """
    section, _, field = name.partition(".")
    column = SECTIONS[section][field].field.column
    if column is None:
        raise LookupError(f"{name} declares no column")

    def value_in(record: Record) -> Any:
        return (getattr(record, section) or {}).get(field)

    def read(row: Row) -> Any:
        if "f" not in column.form:
            return value_in(row.first)
        middle = row.middle(value_in)
        return None if middle is None else middle * column.factor

    return column.heading, ReportColumn(column.form, read)


def latency_column(percentile: Literal["p50_ms", "p99_ms"]) -> ReportColumn:
    """Of single images."""

    def value_in(record: Record) -> float | None:
        return next((row[percentile] for row in record.latency if row["batch"] == 1), None)

    return ReportColumn(".2f", lambda row: row.middle(value_in))


def dataset_name(row: Row) -> str:
    return row.first.dataset["name"] + (" (sample)" if row.first.dataset["is_sample"] else "")


def input_name(row: Row) -> str:
    """Where the images come from, and which half of a step was left out, if one was."""
    cell = row.first.cell
    return " without ".join(filter(None, (cell.get("input"), cell.get("without"))))


def variant(row: Row) -> str | None:
    """What a row was computed with beyond the plain step: two rows alike in all else are not the same measurement."""
    cell, options = row.first.cell, row.first.options
    exchange = (options.get("exchange") or {}).get("gradients", "float32")
    kernels, engine = cell.get("kernels", "vendor"), cell.get("engine", "eager")
    words = [name for name in ("compile", "graph", "augment") if options.get(name)]
    words += [engine] * (engine != "eager") + [kernels] * (kernels != "vendor")
    words += [f"{exchange} gradients"] * (exchange != "float32" and cell["cards"] > 1)
    return ", ".join(words) or None


def statuses(row: Row) -> str:
    return ", ".join(sorted({record.status for record in row.records}))


def rate_interval(row: Row) -> str | None:
    """Of two runs none is printed: Student's t on one degree of freedom says "5 to 37,000"."""
    bounds = median_interval(row.rates) if len(row.rates) >= FEWEST_RUNS else None
    return bounds and f"{bounds[0]:.1f} to {bounds[1]:.1f}"


def rate_uncertainty(row: Row) -> float | None:
    return as_percent(row.uncertainty)


def change_word(found: Finding) -> str:
    if found.verdict == PASS:
        return "better" if found.low > 0 else "same"
    return {FAIL: "worse", AMBIGUOUS: "unclear"}[found.verdict]


def change_text(found: Finding | None) -> str | None:
    """Such as "-4.1 % (-5.0 to -3.2), worse"."""
    if found is None:
        return None
    one = found.evidence
    said = f"{math.expm1(one.estimate) * 100:+.1f} %"
    if one.df is not None and found.high - found.low < 2 * WIDE:
        said += f" ({math.expm1(found.low) * 100:+.1f} to {math.expm1(found.high) * 100:+.1f})"
    return f"{said}, {change_word(found)}"


def by_time(entries: Iterable[Entry]) -> list[Entry]:
    return sorted(entries, key=lambda entry: (entry.started_utc, entry.record_id))


def trend(row: Row) -> str | None:
    """images/s of the last builds, oldest first, as blocks; None for fewer than three. A flat line is within 4 %."""
    builds: dict[str, list[float]] = {}
    for entry in by_time(row.history):
        if "throughput" in entry.values:
            builds.setdefault(entry.build, []).append(math.log(entry.values["throughput"]))
    levels = [median(values) for values in builds.values()][-MOST_BUILDS:]
    if len(levels) < FEWEST_RUNS:
        return None
    middle, reach = (max(levels) + min(levels)) / 2, max(max(levels) - min(levels), 0.04) / 2
    places = [round((level - middle + reach) / (2 * reach) * (len(BLOCKS) - 1)) for level in levels]
    return "".join(BLOCKS[place] for place in places)


def torch_version(row: Row) -> str | None:
    return (row.first.provenance.get("versions") or {}).get("torch")


def measured_date(row: Row) -> str:
    return row.records[-1].started_utc[:16].replace("T", " ")


def throttled_notes(records: list[Record]) -> list[str]:
    """A footnote where the driver slowed a card for heat or a failing supply while it was measured."""
    shares = [one.get("throttled_share") or 0.0 for record in records for one in record.telemetry]
    return [f"throttled in {max(shares):.0%} of the measured time"] if any(shares) else []


def failure_notes(records: list[Record]) -> list[str]:
    return [f"{r.status}: {'; '.join(r.status_reasons)}"[:300] for r in records if cells.is_failed(r)]


def skew_percent(row: Row) -> float | None:
    """How much longer the slowest rank took than the fastest; means nothing for one rank."""
    return (
        as_percent(row.middle(lambda record: record.throughput.get("skew_share")))
        if row.first.cell["cards"] > 1
        else None
    )


def accuracy_interval(row: Row) -> str | None:
    """Wilson's interval of the first repeat: what this many words can tell."""
    accuracy = row.first.accuracy or {}
    low, high = accuracy.get("word_accuracy_low"), accuracy.get("word_accuracy_high")
    return None if low is None or high is None else f"{low * 100:.2f} to {high * 100:.2f}"


def peak_memory_mib(row: Row) -> float | None:
    """Of the rank that took most."""

    def value_in(record: Record) -> float | None:
        peaks = drop_none(record.memory.get("peak_bytes") or [])
        return max(peaks) / 2**20 if peaks else None

    return row.middle(value_in)


def loadgen_verdicts(row: Row) -> str | None:
    """MLPerf's own verdicts, where its load generator drove the run."""
    sections = [record.loadgen for record in row.records if record.loadgen]
    return ", ".join(sorted({f"{one['scenario']} {one['verdict']}" for one in sections})) or None


def short_commit(row: Row) -> str:
    commit, dirty = cells.code_version(row.first)
    return (commit or "")[:9] + ("+" if dirty else "")


def as_percent(value: float | None) -> float | None:
    return None if value is None else value * 100


# Columns in the order of the table: those of a field by the field's name, the others with their reader. Adding a metric
# is declaring its column in bench/records/sections.py and naming it here.
COLUMNS: dict[str, ReportColumn] = dict((
    ("run", ReportColumn("", lambda row: row.first.run)),
    ("dataset", ReportColumn("", dataset_name)),
    declared_column("cell.card"),
    declared_column("cell.cards"),
    declared_column("cell.precision"),
    declared_column("cell.batch_per_card"),
    ("input", ReportColumn("", input_name)),
    ("variant", ReportColumn("", variant)),
    ("runs", ReportColumn("d", lambda row: len(row.records))),
    ("status", ReportColumn("", statuses)),
    declared_column("throughput.images_per_s"),
    ("± %", ReportColumn(".1f", rate_uncertainty)),
    ("against previous", ReportColumn("", lambda row: change_text(row.previous))),
    ("against baseline", ReportColumn("", lambda row: change_text(row.baseline))),
    ("trend", ReportColumn("", trend)),
    ("95 % interval", ReportColumn("", rate_interval)),
    ("detects %", ReportColumn(".1f", lambda row: as_percent(detectable_change(row.rates)))),
    declared_column("throughput.images_per_s_per_card"),
    ("scaling %", ReportColumn("", lambda row: row.scaling and row.scaling.show(".1f", 100))),
    ("x FP32", ReportColumn("", lambda row: row.speedup and row.speedup.show(".2f"))),
    declared_column("throughput.step_p50_ms"),
    declared_column("throughput.step_p99_ms"),
    declared_column("throughput.images_per_s_core"),
    declared_column("throughput.images_per_s_end_to_end"),
    ("slowest rank behind %", ReportColumn(".1f", skew_percent)),
    declared_column("throughput.data_wait_share"),
    ("batch-1 p50 ms", latency_column("p50_ms")),
    ("batch-1 p99 ms", latency_column("p99_ms")),
    declared_column("accuracy.word_accuracy"),
    declared_column("training.target_s"),
    ("words read 95 %", ReportColumn("", accuracy_interval)),
    declared_column("accuracy.n"),
    ("memory MiB", ReportColumn(".0f", peak_memory_mib)),
    declared_column("efficiency.mfu_share"),
    declared_column("power.mean_w"),
    declared_column("power.j_per_1k_images"),
    ("MLPerf", ReportColumn("", loadgen_verdicts)),
    ("commit", ReportColumn("", short_commit)),
    ("date", ReportColumn("", measured_date)),
    ("host", ReportColumn("", lambda row: row.first.host or None)),
    ("torch", ReportColumn("", torch_version)),
))  # fmt: skip
# What a reader sees first; those of IDENTITY are added where rows differ in them, and are said once where they agree.
DEFAULT_COLUMNS = ("run", "images/s", "± %", "against previous", "against baseline", "words read %", "commit", "date")
IDENTITY = ("dataset", "card", "cards", "precision", "batch", "input", "variant", "host", "torch")


def cell_values(row: Row | Failure) -> dict[str, object]:
    """A row's cells as they are, not as they are printed. A failed run has a name and a reason only."""
    if isinstance(row, Failure):
        return {**dict.fromkeys(COLUMNS), "run": row.run, "status": row.status}
    return {name: column.read(row) for name, column in COLUMNS.items()}


def format_cell(name: str, value: object) -> str:
    """One cell as people read it; empty where nothing was measured."""
    return "" if value is None else format(value, COLUMNS[name].form)


def preflight_notes(records: list[Record]) -> list[str]:
    """A footnote when a check before a run warned; the record has its message."""
    checks = sorted({found["check"] for r in records for found in r.preflight if found["level"] == "warning"})
    return [f"warned before the run: {', '.join(checks)}"] if checks else []


def fallback_notes(records: list[Record]) -> list[str]:
    """A footnote when operators ran on the host: the row is no measurement of the card alone."""
    operators = sorted({name for r in records for name in r.fallbacks})
    return [f"in part the host's speed: the card has no kernel for {', '.join(operators)}"] if operators else []


def make_rows(records: list[Record], every_commit: bool = True) -> list[Row]:
    """A row for each cell and commit; or, for each cell, of its newest commit alone."""
    rows = [
        Row(
            group,
            notes=[*failure_notes(group), *fallback_notes(group), *throttled_notes(group), *preflight_notes(group)],
        )
        for group in cells.group_repeats(records)
    ]
    if not every_commit:
        rows = [*newest_of_each([row for row in rows if not cells.is_failed(row.first)])] + [
            row for row in rows if cells.is_failed(row.first)
        ]
    return sorted(rows, key=table_order)


def newest_of_each(rows: list[Row]) -> Iterable[Row]:
    return {cells.key(row.first): row for row in sorted(rows, key=newest)}.values()


def newest(row: Row) -> str:
    return row.records[-1].started_utc


def table_order(row: Row) -> tuple[object, ...]:
    """Where a reader looks for a row: rows to be compared stand together."""
    cell = row.first.cell
    return (row.first.task == "Infer", cell["model"], cell["device"], cell["card"], cell["precision"], cell["cards"],
            cell["batch_per_card"], newest(row))  # fmt: skip
