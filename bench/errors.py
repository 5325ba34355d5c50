"""How a program says no: one line with what was wrong, where, and what to do; exit code 2."""

from __future__ import annotations

if not __package__:  # `python bench/errors.py`, from any folder: its own is on the path, and not the checkout
    __import__("sys").path.insert(0, __file__.rsplit("/", 2)[0])

import errno
import faulthandler
import os
import re
import select
import signal
import sys
import time
import unicodedata
from collections.abc import Callable
from contextlib import suppress
from typing import TextIO

# Escape sequences and control characters would drive the reader's terminal; a tab or a newline breaks a row.
CONTROL = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|[\x00-\x09\x0b-\x1f\x7f-\x9f]")
# Marks that reorder text: a name could show itself as another name (Trojan Source, CVE-2021-42574).
DIRECTION = re.compile("[\u200e\u200f\u202a-\u202e\u2066-\u2069]")
HALVES = re.compile("[\ud800-\udfff]")  # of a pair: what a name that is not UTF-8 becomes; no file takes them

FIRST_SPEAKS_S = 3  # in which the first rank of a host says it for all, and the launcher ends the others


# A path that the user gave is wrong, or the reader of standard output has gone.
MENDABLE = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.EACCES, errno.EROFS, errno.EPIPE)


class UserError(ValueError):
    """Something the user can mend. The message is the whole story: no traceback is shown."""

    status: str | None = None  # of the record of a run that ends in it; None: it leaves no record


def run_cli(main: Callable[[], object], program: str) -> None:
    """Run `main`; turn a UserError into one line on stderr and exit code 2.

    Of several ranks on a host the first speaks; another has its turn only when the first has nothing to say. The
    launcher is told, because starting again would not help.
    """
    if sys.__stderr__:
        faulthandler.enable(sys.__stderr__)  # a bus error (a file cut short under its map) is not silent
    try:
        main()
        sys.stdout.flush()
    except OSError as error:
        if error.errno not in MENDABLE or not (error.filename or is_gone(sys.stdout)):
            raise
        if error.filename:
            print(f"{program}: error: {one_line(error.filename)}: {error.strerror}", file=sys.stderr, flush=True)
            sys.exit(2)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # `| head` has read enough
    except UserError as refusal:
        if os.environ.get("LOCAL_RANK", "0") != "0":
            time.sleep(FIRST_SPEAKS_S)
        print(f"{program}: error: {one_line(refusal)}", file=sys.stderr, flush=True)
        if launcher := os.environ.get("CRNN_LAUNCHER"):
            os.kill(int(launcher), signal.SIGUSR1)
        sys.exit(2)


def is_gone(stream: TextIO) -> bool:
    """Whether the reader of this pipe is gone. Flushing does not tell: what could not be written may be dropped."""
    try:
        stream.flush()
        waiting = select.poll()
        waiting.register(stream.fileno(), 0)
        return any(happened & select.POLLERR for _, happened in waiting.poll(0))
    except OSError:
        return True


def seconds_setting(variable: str, default: str) -> float:
    """A time that the environment sets. A module reads it before its program can answer, so this ends the process."""
    value = os.environ.get(variable) or default
    with suppress(ValueError):  # which is said below
        if 0 < float(value) < 1e9:
            return float(value)
    print(f"error: {variable}={value} is not a number of seconds", file=sys.stderr)
    sys.exit(2)


def plain(text: object) -> str:
    """For a terminal: printable text and newlines, nothing that acts."""
    return HALVES.sub("\ufffd", DIRECTION.sub("", CONTROL.sub("", str(text))))


def printable(value: object) -> object:
    """jinja2's `finalize`: text loses what is not to be seen before it is escaped; markup is ours and stays."""
    return plain(value) if isinstance(value, str) and not hasattr(value, "__html__") else value


def one_line(text: object) -> str:
    """For a line of a log: no newline begins another one."""
    return re.sub("[\n\u2028\u2029]", " ", plain(text))


def escape_markdown(text: object) -> str:
    """For a cell of a Markdown table: no pipe ends it, no tag, link (a bare address is one) or emphasis begins."""
    escaped = re.sub(r"([\\`*_~\[\]|#]|:(?=//)|(?<=www)\.)", r"\\\1", one_line(text))
    return escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def escape_csv(text: object) -> str:
    """For CSV: a spreadsheet would run a cell that begins like a formula (OWASP, CSV injection); a number is none."""
    line = one_line(text)
    is_number = re.fullmatch(r"[+-]?\d+(\.\d+)?([eE][+-]?\d+)?", line)
    begins = unicodedata.normalize("NFKC", line.lstrip()[:1])  # some programs take a full-width sign for its like
    return f"'{line}" if begins and begins in "=+-@" and not is_number else line
