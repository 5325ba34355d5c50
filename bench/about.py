"""--help of a program that has no options, or none but switches."""

from __future__ import annotations

import argparse


def about(program: str, doc: str, *switches: tuple[str, str], words: str = "") -> argparse.Namespace:
    """Read the command line of `python -m PROGRAM`, whose module says in `doc` what it does.

    switches: (name, help) each. words: those of the example, after the program's name. The first line of `doc` is what
    --help begins with, the rest what it ends with.
    """
    first, _, rest = doc.partition("\n")
    parser = argparse.ArgumentParser(
        prog=program,
        description=first,
        epilog=f"{rest.strip()}\n\nexample: python -m {program} {words}".strip(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for name, text in switches:
        parser.add_argument(name, action="store_true", help=text)
    return parser.parse_args()
