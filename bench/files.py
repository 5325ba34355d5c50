"""Writing where there may be no room: what is said, and what goes on without it. No torch here."""

from __future__ import annotations

import errno
import os
import shutil
import sys
from contextlib import suppress
from pathlib import Path

from bench.errors import UserError

FULL = (errno.ENOSPC, errno.EDQUOT)


def size(bytes_: int) -> str:
    for unit, name in ((1e9, "GB"), (1e6, "MB")):
        if bytes_ >= unit / 10:
            return f"{bytes_ / unit:,.1f} {name}"
    return f"{bytes_:,} bytes"


def lacking(error: OSError, needed: int, folder: Path) -> str:
    """The reason of a failed write of so many bytes; where room is what lacks, how much of it."""
    reason = error.strerror or str(error)
    if error.errno == errno.EFBIG:
        return f"{reason}: {size(needed)} are needed in {folder}, and `ulimit -f` or the file system allows less"
    if error.errno not in FULL:
        return reason
    return f"{reason}: {size(needed)} are needed in {folder}, {size(shutil.disk_usage(folder).free)} are free"


def refuse_unwritable(folder: Path, option: str) -> None:
    """Raises UserError when nothing can be made in a folder, which need not exist yet. Makes nothing."""
    place = next(p for p in (folder.absolute(), *folder.absolute().parents) if p.exists())
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        raise UserError(f"{folder}: cannot be written to; choose another {option}")


def say(*words) -> None:
    """Print a line of the log. A log that cannot be written (its disk is full, its reader is gone) stops no run."""
    try:
        print(*words, flush=True)
    except OSError as error:
        warn(f"the log cannot be written: {error.strerror}")
        # What is buffered would fail again at the next line and at the end of the program.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def warn(sentence: str) -> None:
    """Say it on stderr; when that cannot be written either, nobody can be told."""
    with suppress(OSError):
        print(f"warning: {sentence}", file=sys.stderr, flush=True)
