"""One HTML file that needs nothing else: tables that sort and filter, charts, where each number came from.

jinja2 escapes everything that a record says; style and script are inlined, and the page itself forbids the network.
"""

from __future__ import annotations

import json
from base64 import b64encode
from datetime import datetime, timezone
from hashlib import sha256
from pathlib import Path
from typing import Any

from bench.records.record import Record
from bench.reporting import charts
from bench.reporting.comparisons import Pair
from bench.reporting.index import Entry
from bench.reporting.rows import COLUMNS, Row, Rows, cell_values, change_text, change_word, format_cell
from bench.reporting.tables import commit_url, constant_line, footnotes, notes_of
from bench.reporting.templates import template_environment

TEMPLATES = Path(__file__).resolve().parent
FILTERS = ("run", "dataset", "card", "precision", "status")  # columns with a menu of their values


def render_page(
    rows: Rows, pairs: list[Pair], entries: list[Entry], baselines: Path, shown: list[str], repo_url: str | None = None
) -> str:
    """The page as text. `shown` are the columns that are open at first; `entries` are of all records, older too."""
    script = (TEMPLATES / "page.js").read_text(encoding="utf8")
    measured = [row for row in rows if isinstance(row, Row)]
    numbered = {note: i for i, note in enumerate(footnotes(rows), 1)}
    table = [
        (cell_values(row), [numbered[note] for note in notes_of(row)], row, commit_url(row, repo_url)) for row in rows
    ]
    filled = [name for name in COLUMNS if any(cells[name] is not None and cells[name] != "" for cells, *_ in table)]
    first = [name for name in shown if name in filled]
    records = [record for row in measured for record in row.records]
    return (
        template_environment(TEMPLATES)
        .get_template("page.html")
        .render(
            columns=[*first, *(name for name in filled if name not in first)],
            more={name for name in filled if name not in first},
            agreed=constant_line(rows, first),
            changes=what_changed(measured),
            numeric={name for name, column in COLUMNS.items() if column.form},
            filters=[(name, options) for name in FILTERS if len(options := choices(table, name)) > 1],
            table=table,
            footnotes=list(numbered),
            pairs=pairs,
            charts={heading: figures for heading, figures in charts.all_charts(measured, baselines).items() if figures},
            records=records,
            older=len(entries) - len(records),
            printed=format_cell,
            evidence=evidence,
            made=datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
            style=(TEMPLATES / "page.css").read_text(encoding="utf8"),
            script=script,
            script_hash=b64encode(sha256(script.encode()).digest()).decode(),
        )
    )


def what_changed(rows: list[Row]) -> list[tuple[str, str]]:
    """(verdict, sentence) of what a reader came for, what is worse first; then what nothing can be said of."""
    order = ("worse", "unclear", "better", "same")
    found, silent = [], 0
    for row in rows:
        sides = [(f"commit {row.previous_commit}", row.previous), ("its baseline", row.baseline)]
        for against, finding in sides:
            if finding:
                word = change_word(finding)
                change = (change_text(finding) or "").removesuffix(f", {word}")
                found.append((word, f"{row.label}: {change} against {against}"))
        silent += not any(finding for _, finding in sides)
    found.sort(key=lambda one: order.index(one[0]))
    if silent:
        found.append(("none", f"{silent} of {len(rows)} rows have nothing to be compared with"))
    return found


def choices(table: list[tuple[Any, ...]], name: str) -> list[str]:
    return sorted({format_cell(name, cells[name]) for cells, *_ in table} - {""})


def evidence(record: Record) -> str:
    """What a reader who doubts a number looks for first."""
    sections = {
        "provenance": record.provenance,
        "dataset": record.dataset,
        "recipe": record.recipe,
        "precision_evidence": record.precision_evidence,
        "phases_s": record.phases_s,
        "seeds": record.seeds,
    }
    return json.dumps(sections, indent=1, default=str)
