"""Does a record's arithmetic close? Every derived number is recomputed from the raw series. No torch here.

`python -m bench.verify FILE...` prints what does not hold and exits 1. The reporter refuses a record that fails.
"""

from __future__ import annotations

if not __package__:  # `python bench/verify.py`, from any folder: its own is on the path, and not the checkout
    __import__("sys").path.insert(0, __file__.rsplit("/", 2)[0])

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from bench.errors import UserError, one_line, run_cli
from bench.options import Command, Metavar, Positional
from bench.records.checks import validate_file
from bench.records.signature import signer


@dataclass
class VerifyOptions:
    """Recompute every derived number of records from their raw series; exit 1 when one does not hold."""

    files: Annotated[list[Path], Positional("FILE")]
    """Record files"""
    trusted: Annotated[Path | None, Metavar("FILE")] = None
    """Each record must be signed (bench.sign) by a key of this file: lines NAME KEY, as in ssh's allowed_signers"""


COMMAND = Command("bench.verify", VerifyOptions, "results/runs/*.json")


def main(argv: list[str] | None = None) -> None:
    options, failed = COMMAND.parse(argv), False
    for path in options.files:
        errors, signed = validate_file(path), ""
        if options.trusted and not errors:
            try:
                signed = f", signed by {signer(path, options.trusted)}"
            except UserError as refusal:
                errors = [str(refusal)]
        failed |= bool(errors)
        print(one_line(f"{path}: {'; '.join(errors) or f'holds{signed}'}"))
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    run_cli(main, "bench.verify")
