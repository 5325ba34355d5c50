"""Writing files whole, log lines that stop no run, and messages for a disk that is full. No torch here."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import stat
import sys
from contextlib import suppress
from pathlib import Path

from bench.errors import UserError

ROOT = Path(__file__).resolve().parents[1]  # of the checkout
FULL = (errno.ENOSPC, errno.EDQUOT)


def format_bytes(bytes_: int) -> str:
    for unit, name in ((1e9, "GB"), (1e6, "MB")):
        if bytes_ >= unit / 10:
            return f"{bytes_ / unit:,.1f} {name}"
    return f"{bytes_:,} bytes"


def write_file(path: Path, content: str | bytes | memoryview, previous: Path | None = None, sync: bool = False) -> Path:
    """Write a file so that a reader sees all of it or none; folders are made. Text is UTF-8. Raises OSError.

    `previous` is a name for the file that is replaced, under which it stays; `sync` makes it outlive a power cut.
    """
    data = content.encode("utf8") if isinstance(content, str) else content
    if path.exists() and not path.is_file():  # /dev/stdout, a pipe
        path.write_bytes(data)
        return path
    partial = path.with_suffix(f".partial{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            file.write(data)
            if sync:
                file.flush()
                os.fsync(file.fileno())
        if previous and path.exists():
            os.replace(path, previous)
        os.replace(partial, path)
        if sync:
            sync_folder(path.parent)
    finally:
        partial.unlink(missing_ok=True)
    return path


def read_regular(path: Path, most: int = 1 << 26) -> bytes:
    """All of a regular file of at most `most` bytes; others could make a reader wait for ever, or read without end.

    Raises OSError, and UserError for what is no such file.
    """
    with open(path, "rb", buffering=0, opener=open_nonblocking) as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise UserError(f"{path}: not a regular file")
        content = file.read(most + 1) if status.st_size <= most else None
    if content is None or len(content) > most:
        raise UserError(f"{path}: more than {most:,} bytes")
    return content


def open_nonblocking(path: str, flags: int) -> int:
    """An opener that does not block on a FIFO that has no writer."""
    return os.open(path, flags | os.O_NONBLOCK)


def lock_file(path: Path) -> int | None:
    """Lock a file, which is made, for as long as this process lives or the descriptor given is open.

    A POSIX lock: the kernel drops it with the process, however that ends, no forked worker inherits it, and hosts that
    share a disk see each other's. None: its file system has no locks. Raises BlockingIOError where another has it.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise
    except OSError:
        os.close(descriptor)
        return None
    return descriptor


def sync_folder(folder: Path) -> None:
    """Make a rename outlive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_error_reason(error: OSError, needed: int, folder: Path) -> str:
    """Why writing `needed` bytes to a folder failed; on a full disk also how much room there is."""
    reason = error.strerror or str(error)
    if error.errno == errno.EFBIG:
        return (
            f"{reason}: {format_bytes(needed)} are needed in {folder}, and `ulimit -f` or the file system allows less"
        )
    if error.errno not in FULL:
        return reason
    free = format_bytes(shutil.disk_usage(folder).free)
    return f"{reason}: {format_bytes(needed)} are needed in {folder}, {free} are free"


def refuse_unwritable(folder: Path, option: str) -> None:
    """Raises UserError when nothing can be made in a folder, which need not exist yet. Makes nothing."""
    place = next(p for p in (folder.absolute(), *folder.absolute().parents) if p.exists())
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        raise UserError(f"{folder}: cannot be written to; choose another {option}")


def say(*words: object) -> None:
    """Print a line of the log. A log that cannot be written (full disk, closed pipe) stops no run."""
    try:
        print(*words, flush=True)
    except OSError as error:
        warn(f"the log cannot be written: {error.strerror}")
        # What is buffered would fail again at the next line and at the end of the program.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def warn(sentence: str) -> None:
    """A warning on stderr; dropped when stderr cannot be written either."""
    with suppress(OSError):
        print(f"warning: {sentence}", file=sys.stderr, flush=True)
