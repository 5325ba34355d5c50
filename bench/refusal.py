"""How a program says no: one line with what was wrong, where, and what to do; exit code 2."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable


class Refusal(ValueError):
    """Something the user can mend. The message is the whole story: no traceback is shown."""


def answer(main: Callable[[], object], program: str) -> None:
    """Run `main`; turn a Refusal into one line on stderr and exit code 2. Only the first of several ranks speaks."""
    try:
        main()
    except Refusal as refusal:
        if os.environ.get("RANK", "0") == "0":
            print(f"{program}: error: {refusal}", file=sys.stderr)
        sys.exit(2)
