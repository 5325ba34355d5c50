"""Batches that were measured, by recipe, precision and card: what a run by name trains with where nobody says another.

models/recipes/batches.tsv holds them, each with the record that shows it; `python -m benchmarks.gpu` prints lines to
add. A card that is not in it trains at the recipe's own batch, and a line says so.
"""

from __future__ import annotations

from pathlib import Path

from bench.errors import UserError
from models.run.options import RECIPES

BATCHES = RECIPES / "batches.tsv"
COLUMNS = ("recipe", "precision", "card", "batch", "record")


def measured_batch(recipe: str, precision: str, card: str, table: Path = BATCHES) -> tuple[int, str] | None:
    """The batch and the name of its record; None for a card that nobody has measured. Raises UserError."""
    for number, line in enumerate(table.read_text(encoding="utf8").splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        values = line.split("\t")
        if len(values) != len(COLUMNS) or not values[3].isdecimal() or int(values[3]) < 1:
            raise UserError(f"{table}, line {number}: give {', '.join(COLUMNS)} with tabs between them")
        if values[:3] == [recipe, precision, card]:
            return int(values[3]), values[4]
    return None
