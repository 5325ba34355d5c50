"""Rows as tables for people and programs: terminal, Markdown, CSV, JSON. No torch here."""

from __future__ import annotations

import json
from csv import QUOTE_ALL

import pandas as pd

from bench import errors
from bench.reporting.comparisons import Pair
from bench.reporting.rows import COLUMNS, Failure, Row, Rows, cell_values, format_cell


def footnotes(rows: Rows) -> list[str]:
    """All notes once, in the order of the rows; a row shows their numbers."""
    return list(dict.fromkeys(note for row in rows for note in notes_of(row)))


def notes_of(row: Row | Failure) -> list[str]:
    return [row.reason] if isinstance(row, Failure) else row.notes


def rows_table(rows: Rows) -> pd.DataFrame:
    """One row a cell; cells as printed, empty where nothing was measured; the last column names the footnotes."""
    numbered = {note: str(i) for i, note in enumerate(footnotes(rows), 1)}
    return pd.DataFrame(
        [
            {name: format_cell(name, value) for name, value in cell_values(row).items()}
            | {"notes": " ".join(numbered[note] for note in notes_of(row))}
            for row in rows
        ],
        columns=[*COLUMNS, "notes"],
    )


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
            "ratio": "" if pair.ratio is None else f"{pair.ratio:.3g}",
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


def to_markdown(rows: Rows, pairs: list[Pair]) -> str:
    """The tables as GitHub shows them, with their footnotes."""
    parts = [
        drop_empty_columns(rows_table(rows)).map(errors.escape_markdown).to_markdown(index=False, disable_numparse=True)
    ]
    parts += [f"{i}. {errors.escape_markdown(note)}" for i, note in enumerate(footnotes(rows), 1)]
    if pairs:
        frame = drop_empty_columns(device_table(pairs)).map(errors.escape_markdown)
        parts.append("\n" + frame.to_markdown(index=False, disable_numparse=True))
    return "\n".join([parts[0], "", *parts[1:]]).rstrip() + "\n"


def to_json(rows: Rows, pairs: list[Pair]) -> str:
    """Full doubles and nulls, for programs."""
    content = {
        "rows": [
            cell_values(row)
            | {"notes": notes_of(row), "record_ids": [r.record_id for r in getattr(row, "records", [])]}
            for row in rows
        ],
        "devices": device_table(pairs).to_dict("records"),
    }
    return json.dumps(content, indent=1) + "\n"


def to_csv(rows: Rows) -> str:
    """Cells as printed, none of which a spreadsheet would run; all quoted, because some part cells at semicolons."""
    return str(rows_table(rows).map(errors.escape_csv).to_csv(index=False, quoting=QUOTE_ALL))
