"""Rows as tables for people and programs: terminal, Markdown, CSV, JSON. No torch here."""

from __future__ import annotations

import json
import math
import re
from csv import QUOTE_ALL

import pandas as pd

from bench import errors
from bench.errors import UserError
from bench.judging.statistics import median_interval
from bench.records.cells import is_failed
from bench.reporting.comparisons import Pair
from bench.reporting.rows import (
    COLUMNS,
    DEFAULT_COLUMNS,
    IDENTITY,
    Failure,
    Row,
    Rows,
    as_percent,
    cell_values,
    change_word,
    format_cell,
)

IN_NAME = ("cards", "precision")  # the run's name says them
MARKER = "<!-- crnn-bench report -->"  # by which a workflow finds its own comment again


def footnotes(rows: Rows) -> list[str]:
    """All notes once, in the order of the rows; a row shows their numbers."""
    return list(dict.fromkeys(note for row in rows for note in notes_of(row)))


def notes_of(row: Row | Failure) -> list[str]:
    return [row.reason] if isinstance(row, Failure) else row.notes


def chosen_columns(rows: Rows, asked: str | None) -> list[str]:
    """Names of columns: `all`, a list with commas, or the default. Raises UserError for a name that is none."""
    if asked == "all":
        return list(COLUMNS)
    if asked:
        names = [name.strip() for name in asked.split(",")]
        if unknown := [name for name in names if name not in COLUMNS]:
            raise UserError(f"--columns: no column '{unknown[0]}'; there are {', '.join(COLUMNS)}")
        return names
    cells = [cell_values(row) for row in rows if isinstance(row, Row)]
    differ = [name for name in IDENTITY if name not in IN_NAME and len({str(cell[name]) for cell in cells}) > 1]
    trend = ["trend"] * any(cell["trend"] for cell in cells)
    status = ["status"] * any(isinstance(row, Failure) or cells_fail(row) for row in rows)
    card = [name for name in differ if name == "card"]
    others = [name for name in differ if name != "card"]
    return [DEFAULT_COLUMNS[0], *card, *DEFAULT_COLUMNS[1:], *trend, *others, *status]


def cells_fail(row: Row) -> bool:
    return is_failed(row.first) or row.first.status == "too_short"


def constant_line(rows: Rows, columns: list[str]) -> str:
    """What every row agrees in and no column says."""
    cells = [cell_values(row) for row in rows if isinstance(row, Row)]
    agreed = [(name, {format_cell(name, cell[name]) for cell in cells}) for name in IDENTITY if name not in columns]
    said = [f"{name} {value}" for name, values in agreed if len(values) == 1 and (value := values.pop())]
    return f"in every row: {'; '.join(said)}" if said else ""


def rows_table(rows: Rows, columns: list[str] | None = None) -> pd.DataFrame:
    """One row a cell; cells as printed, empty where nothing was measured; the last column names the footnotes."""
    numbered = {note: str(i) for i, note in enumerate(footnotes(rows), 1)}
    columns = list(COLUMNS) if columns is None else columns
    printed = []
    for row in rows:
        values = cell_values(row)
        numbers = " ".join(numbered[note] for note in notes_of(row))
        printed.append({name: format_cell(name, values[name]) for name in columns} | {"notes": numbers})
    return pd.DataFrame(printed, columns=[*columns, "notes"])


def device_table(pairs: list[Pair]) -> pd.DataFrame:
    """Device against device, one row a pair."""
    return pd.DataFrame(
        {
            "run": f"{pair.one.first.run} / {pair.other.first.run}",
            "batch": str(pair.one.first.cell["batch_per_card"]),
            "card": pair.one.first.cell["card"],
            "images/s": f"{pair.one.rate:.1f}",
            "other card": pair.other.first.cell["card"],
            "its images/s": f"{pair.other.rate:.1f}",
            "ratio": "" if pair.ratio is None else pair.ratio.show(".3g"),
            "note": pair.note,
        }
        for pair in pairs
    )


def drop_empty_columns(frame: pd.DataFrame) -> pd.DataFrame:
    """Without the columns that are empty in every row."""
    return frame[[name for name in frame if (frame[name] != "").any()]]


def to_console(frame: pd.DataFrame, width: int) -> str:
    """The table for a terminal: flat where it fits, else on its side, else in parts that repeat the first column."""
    kept = drop_empty_columns(frame).map(errors.one_line)
    flat = kept.to_markdown(index=False, tablefmt="simple", disable_numparse=True)
    sideways = kept.T.to_markdown(headers=[], tablefmt="plain", disable_numparse=True)
    for whole in (flat, sideways):
        if max(map(len, whole.splitlines())) <= width:
            return str(whole)
    return "\n\n".join(
        part.to_markdown(index=False, tablefmt="simple", disable_numparse=True) for part in split_columns(kept, width)
    )


def split_columns(frame: pd.DataFrame, width: int) -> list[pd.DataFrame]:
    """Columns dealt out so that each part, with the first column in front, is as wide as the terminal at most."""
    widths = {name: max(len(name) + 2, *frame[name].map(len)) + 2 for name in frame}  # tabulate pads headings by 2
    key, *rest = frame
    dealt: list[list[str]] = [[]]
    for name in rest:
        if dealt[-1] and widths[key] + sum(widths[n] for n in [*dealt[-1], name]) > width:
            dealt.append([])
        dealt[-1].append(name)
    return [frame[[key, *names]] for names in dealt]


def to_markdown(rows: Rows, pairs: list[Pair], columns: list[str] | None = None, repo_url: str | None = None) -> str:
    """The tables as GitHub shows them, with their footnotes; commits as links where the repository is given."""
    frame = drop_empty_columns(rows_table(rows, columns)).map(errors.escape_markdown)
    if repo_url and "commit" in frame:
        links = [commit_url(row, repo_url) for row in rows]
        frame["commit"] = [
            f"[{text}]({link})" if link else text for text, link in zip(frame["commit"], links, strict=True)
        ]
    parts = [MARKER, errors.escape_markdown(constant_line(rows, list(frame))) + "\n"]
    parts.append(frame.to_markdown(index=False, disable_numparse=True) + "\n")
    parts += [f"{i}. {errors.escape_markdown(note)}" for i, note in enumerate(footnotes(rows), 1)]
    if pairs:
        frame = drop_empty_columns(device_table(pairs)).map(errors.escape_markdown)
        parts.append("\n" + frame.to_markdown(index=False, disable_numparse=True))
    return "\n".join(parts).rstrip() + "\n"


def commit_url(row: Row | Failure, repo_url: str | None) -> str | None:
    """Where a forge shows the row's commit."""
    commit = None if isinstance(row, Failure) else row.first.provenance.get("commit")
    if not repo_url or not commit or not re.fullmatch("[0-9a-f]{7,64}", commit):
        return None
    return f"{repo_url.rstrip('/')}/commit/{commit}"


def raw_values(row: Row | Failure) -> dict[str, object]:
    """A row for programs: full doubles, nulls, and where it comes from."""
    values = cell_values(row)
    if isinstance(row, Failure):
        return {**values, "started_utc": row.started_utc, "notes": notes_of(row)}
    low, high = median_interval(row.rates) or (None, None)
    ratios = {"scaling %": row.scaling and row.scaling.value * 100, "x FP32": row.speedup and row.speedup.value}
    changes = {"previous": row.previous, "baseline": row.baseline}
    accuracy = row.first.accuracy or {}
    return {
        **values,
        **ratios,
        "images/s low": low,
        "images/s high": high,
        "words read low %": as_percent(accuracy.get("word_accuracy_low")),
        "words read high %": as_percent(accuracy.get("word_accuracy_high")),
        **{f"change against {name}": found and math.expm1(found.evidence.estimate) for name, found in changes.items()},
        **{f"verdict against {name}": found and change_word(found) for name, found in changes.items()},
        "previous commit": row.previous_commit or None,
        "full commit": row.first.provenance.get("commit"),
        "started_utc": row.first.started_utc,
        "versions": row.first.provenance.get("versions"),
        "record_ids": [record.record_id for record in row.records],
        "notes": notes_of(row),
    }


def to_json(rows: Rows, pairs: list[Pair]) -> str:
    """Full doubles and nulls, for programs."""
    content = {"rows": [raw_values(row) for row in rows], "devices": device_table(pairs).to_dict("records")}
    return json.dumps(content, indent=1, default=str) + "\n"


def to_csv(rows: Rows) -> str:
    """The same as CSV, no cell of which a spreadsheet would run; all quoted, because some part cells at semicolons."""
    frame = pd.DataFrame([raw_values(row) for row in rows], dtype=object)
    text = frame.map(lambda value: "" if value is None or value is pd.NA or value != value else csv_text(value))
    return str(text.map(errors.escape_csv).to_csv(index=False, quoting=QUOTE_ALL))


def csv_text(value: object) -> str:
    if isinstance(value, list):
        return " ".join(map(str, value))
    return json.dumps(value, default=str) if isinstance(value, dict) else str(value)


def to_benchmark_action(rows: Rows) -> str:
    """What github-action-benchmark reads with `tool: customBiggerIsBetter`: rates and accuracy."""
    found = []
    for row in rows:
        if isinstance(row, Failure) or is_failed(row.first):
            continue
        extra = f"commit {row.first.provenance.get('commit')}\ncard {row.first.cell['card']}\n{len(row.records)} runs"
        if row.rate:
            spread = {} if row.uncertainty is None else {"range": f"± {row.rate * row.uncertainty:.4g}"}
            found.append({"name": row.label, "unit": "images/s", "value": row.rate, **spread, "extra": extra})
        accuracy = row.middle(lambda record: (record.accuracy or {}).get("word_accuracy"))
        if accuracy is not None:
            found.append({"name": f"{row.label}: words read", "unit": "%", "value": accuracy * 100, "extra": extra})
    return json.dumps(found, indent=1) + "\n"
