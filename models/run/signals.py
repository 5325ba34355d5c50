"""Ending a run on request: SIGTERM of a scheduler or of torchrun, SIGINT (Ctrl-C) of a person."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SIGNALS = (signal.SIGTERM, signal.SIGINT)
SAME_S = 3  # a terminal or scheduler signals every process, and torchrun passes it on: both are one request


class Interrupted(SystemExit):
    """A run ended by a signal. Its exit code is what a shell gives a process that a signal ended: 143 or 130."""

    def __init__(self, number: int, after: str = ""):
        super().__init__(128 + number)
        self.message = f"stopped by {signal.Signals(number).name}{after}"

    def __str__(self) -> str:
        return self.message


def raise_interrupted(number: int, _: object) -> None:
    raise Interrupted(number)


@contextmanager
def handle_signals(handler: Callable[[int, object], None]) -> Iterator[None]:
    """`handler` for both signals inside, the previous ones afterwards."""
    before = {number: signal.signal(number, handler) for number in SIGNALS}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


class StopRequest:
    """Notes the first signal, for the loop to look at; a second one, some seconds later, ends the run at once."""

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self.signal = 0
        self.waits = True
        self.clock, self.since = clock, 0.0

    def __call__(self, number: int, _: object) -> None:
        again = self.signal and self.clock() - self.since > SAME_S
        if again or not self.waits:
            raise Interrupted(number)
        if not self.signal:
            self.signal, self.since = number, self.clock()

    @contextmanager
    def immediate(self) -> Iterator[None]:
        """Inside, the first signal ends the run: nothing is lost by ending in the middle."""
        self.waits = False
        if self.signal:
            raise Interrupted(self.signal)
        yield
        self.waits = True
