"""Sign records: `python -m bench.sign --key ~/.ssh/id_ed25519 RECORD...` writes RECORD.sig beside each.

The signature is ssh's own (`ssh-keygen -Y sign`), over the record's seal, so over all of it. The seal shows that a
file is what a program wrote; a signature also says who vouches for it. `python -m bench.verify --trusted KEYS` asks for
one. No torch here.
"""

from __future__ import annotations

if not __package__:  # `python bench/sign.py`, from any folder: its own is on the path, and not the checkout
    __import__("sys").path.insert(0, __file__.rsplit("/", 2)[0])

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from bench.errors import UserError, run_cli
from bench.options import Command, Metavar, Positional
from bench.records.checks import validate_file
from bench.records.signature import sign_record, signature_path


@dataclass
class SignOptions:
    """Sign records with an ssh key; a record whose arithmetic does not close is not signed."""

    files: Annotated[list[Path], Positional("FILE")]
    """Record files"""
    key: Annotated[Path, Metavar("FILE")]
    """A private key of ssh, or the public half of one that ssh-agent holds"""


COMMAND = Command("bench.sign", SignOptions, "--key ~/.ssh/id_ed25519 results/runs/*.json")


def main(argv: list[str] | None = None) -> None:
    options = COMMAND.parse(argv)
    for path in options.files:
        if errors := validate_file(path):
            raise UserError(f"{path} is not signed: {errors[0]}")
        sign_record(path, options.key)
        print(f"signed: {signature_path(path)}")


if __name__ == "__main__":
    run_cli(main, "bench.sign")
