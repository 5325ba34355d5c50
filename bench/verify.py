"""Does a record's arithmetic close? Every derived number is recomputed from the raw series. No torch here.

`python -m bench.verify FILE...` prints what does not hold and exits 1. The reporter refuses a record that fails.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from bench.errors import one_line, run_cli
from bench.records.checks import validate_file


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="bench.verify",
        description="Recompute every derived number of records from their raw series; exit 1 when one does not hold.",
        epilog="example: python -m bench.verify results/runs/*.json",
    )
    parser.add_argument("files", nargs="+", type=Path, help="record files")
    failed = False
    for path in parser.parse_args(argv).files:
        errors = validate_file(path)
        failed |= bool(errors)
        print(one_line(f"{path}: {'; '.join(errors) or 'holds'}"))
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    run_cli(main, "bench.verify")
