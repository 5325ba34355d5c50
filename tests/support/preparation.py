"""`python -m models.prepare` inside the test's own process."""

from __future__ import annotations

from bench.errors import UserError
from models import prepare


def run(*argv):
    """None, or the line that the program would refuse with."""
    try:
        return prepare.main([*map(str, argv), "--workers", "1"])
    except UserError as refusal:
        return str(refusal)
