"""How a program says no: one line with what was wrong, where, and what to do; exit code 2."""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress

from bench.reporting.text import one_line

FIRST_SPEAKS_S = 3  # in which the first rank of a host says it for all, and the launcher ends the others


class Refusal(ValueError):
    """Something the user can mend. The message is the whole story: no traceback is shown."""

    status: str | None = None  # of the record of a run that ends in it; None: it leaves no record


def answer(main: Callable[[], object], program: str) -> None:
    """Run `main`; turn a Refusal into one line on stderr and exit code 2.

    Of several ranks on a host the first speaks; another has its turn only when the first has nothing to say. The
    launcher is told, because starting again would not help.
    """
    faulthandler.enable(sys.__stderr__)  # a bus error (a file cut short under its map) is not silent
    try:
        main()
    except Refusal as refusal:
        if os.environ.get("LOCAL_RANK", "0") != "0":
            time.sleep(FIRST_SPEAKS_S)
        print(f"{program}: error: {one_line(refusal)}", file=sys.stderr, flush=True)
        if launcher := os.environ.get("CRNN_LAUNCHER"):
            os.kill(int(launcher), signal.SIGUSR1)
        sys.exit(2)


def seconds(variable: str, default: str) -> float:
    """A time that the environment sets. A module reads it before its program can answer, so this ends the process."""
    value = os.environ.get(variable) or default
    with suppress(ValueError):  # which is said below
        if 0 < float(value) < 1e9:
            return float(value)
    print(f"error: {variable}={value} is not a number of seconds", file=sys.stderr)
    sys.exit(2)
