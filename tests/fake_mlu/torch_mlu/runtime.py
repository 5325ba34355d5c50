"""The runtime of this process: its current card, whether it was started, and by which process."""

import os

from . import cards

_current = 0
_started_by: int | None = None  # the process that started the runtime; a forked child must not use it

FORKED = (
    "Cannot re-initialize MLU in forked subprocess. To use MLU with multiprocessing, you must use the "
    "'spawn' start method"
)


def is_initialized() -> bool:
    return _started_by is not None


def in_bad_fork() -> bool:
    """Whether a parent of this process started the runtime before it forked."""
    return _started_by not in (None, os.getpid())


def start() -> None:
    """Start the runtime, as the first use of a card does; raises in a forked child of a process that did."""
    global _started_by
    if in_bad_fork():
        raise RuntimeError(FORKED)
    _started_by = os.getpid()


def ensure_started(index: int) -> None:
    """Start the runtime and check that card `index` can be used."""
    if _started_by != os.getpid():
        start()
    if index not in _usable:
        cards.check_usable(index)
        _usable.add(index)


_usable: set[int] = set()


def current_device() -> int:
    return _current


def set_device(index: int) -> int:
    """Make `index` the current card and return the one before it."""
    global _current
    ensure_started(index)
    previous, _current = _current, index
    return previous
