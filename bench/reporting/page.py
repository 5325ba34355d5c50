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
from bench.reporting.rows import COLUMNS, Row, Rows, cell_values, format_cell
from bench.reporting.tables import footnotes, notes_of
from bench.reporting.templates import template_environment

TEMPLATES = Path(__file__).resolve().parent
FILTERS = ("run", "dataset", "card", "precision", "status")  # columns with a menu of their values


def render_page(rows: Rows, pairs: list[Pair], records: list[Record], baselines: Path) -> str:
    """The page as text. `records` holds those of older commits, too, for the history."""
    script = (TEMPLATES / "page.js").read_text(encoding="utf8")
    measured = [row for row in rows if isinstance(row, Row)]
    numbered = {note: i for i, note in enumerate(footnotes(rows), 1)}
    table = [(cell_values(row), [numbered[note] for note in notes_of(row)], row) for row in rows]
    columns = [name for name in COLUMNS if any(cells[name] is not None and cells[name] != "" for cells, *_ in table)]
    shown = [record for row in measured for record in row.records]
    return (
        template_environment(TEMPLATES)
        .get_template("page.html")
        .render(
            columns=columns,
            numeric={name for name, column in COLUMNS.items() if column.form},
            filters=[(name, options) for name in FILTERS if len(options := choices(table, name)) > 1],
            table=table,
            footnotes=list(numbered),
            pairs=pairs,
            charts={
                heading: figures
                for heading, figures in charts.all_charts(measured, records, baselines).items()
                if figures
            },
            records=shown,
            older=len(records) - len(shown),
            printed=format_cell,
            evidence=evidence,
            made=datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
            style=(TEMPLATES / "page.css").read_text(encoding="utf8"),
            script=script,
            script_hash=b64encode(sha256(script.encode()).digest()).decode(),
        )
    )


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
