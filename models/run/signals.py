"""Ending a run when somebody asks: SIGTERM of a scheduler or of torchrun, SIGINT (Ctrl-C) of a person."""

from __future__ import annotations

import signal
import time
from contextlib import contextmanager

SIGNALS = (signal.SIGTERM, signal.SIGINT)
SAME_S = 3  # a terminal or scheduler signals every process, and torchrun passes it on: both are one request


class Interrupted(SystemExit):
    """Somebody asked the run to end. Its code is what a shell says of a process that a signal ended: 143 or 130."""

    def __init__(self, number: int, after: str = ""):
        super().__init__(128 + number)
        self.said = f"stopped by {signal.Signals(number).name}{after}"

    def __str__(self) -> str:
        return self.said


def interrupt(number: int, _) -> None:
    raise Interrupted(number)


@contextmanager
def handled(handler):
    """`handler` for both signals, the ones before it afterwards."""
    before = {number: signal.signal(number, handler) for number in SIGNALS}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


class Asked:
    """Notes the first signal, for the loop to look at; a second one, some seconds later, ends the run at once."""

    def __init__(self, clock=time.monotonic):
        self.number = 0
        self.waits = True
        self.clock, self.since = clock, 0.0

    def __call__(self, number: int, _) -> None:
        again = self.number and self.clock() - self.since > SAME_S
        if again or not self.waits:
            raise Interrupted(number)
        if not self.number:
            self.number, self.since = number, self.clock()

    @contextmanager
    def at_once(self):
        """Inside, nothing is lost by ending in the middle."""
        self.waits = False
        if self.number:
            raise Interrupted(self.number)
        yield
        self.waits = True
