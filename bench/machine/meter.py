"""Times the steps of a loop. Raw series are kept; warm-up is a slice of them, never a deletion.

The device is drained where the measured span begins and where it ends, not in between: a drain at every step would slow
what it measures. Clock, drain and device events are passed in, so that tests use fakes.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from bench.records.packing import ticks
from bench.records.series import Series

Batch = TypeVar("Batch")


@dataclass
class Meter:
    """Wrap the batches of a loop in `steps()`. May be used for several spans; their series join."""

    synchronize: Callable[[], None]
    warmup_steps: int = 0
    clock: Callable[[], float] = time.perf_counter
    event: Callable[[], Any] | None = None  # makes an event with record(), query() and elapsed_time(other) in ms
    series: Series = field(default_factory=Series)
    phases_s: dict[str, float] = field(default_factory=dict)
    windows: list[list[float]] = field(default_factory=list)  # clock times between which steps were measured
    first_s: float | None = None  # clock time at which the first batch was asked for
    _began_s: float = 0.0  # of the step that is open
    _is_open: bool = False  # whether a step is
    _paused_s: float = 0.0  # what phases inside it took; it does not count them
    _open_images: int = 0  # of the step that is open
    _mark: Any = None  # event where the device ended the step before
    _work: Any = None  # event at the start of the device's work on the step that is open
    _pending: deque[tuple[Any, Any, Any]] = field(default_factory=deque)  # of steps that the device has not ended yet

    def steps(self, batches: Iterable[Batch], images: Callable[[Batch], int] = len) -> Iterator[Batch]:  # type: ignore[assignment]  # for batches with a length
        """Yield the batches, timing the wait for each and the work done on it until the next is asked for."""
        source = iter(batches)
        self.synchronize()
        self._began_s, self._is_open = self.clock(), True
        self.first_s = self._began_s if self.first_s is None else self.first_s
        self._mark = self._record_event()
        self._open_window()
        for batch in source:
            ready = self.clock()
            self._begin_work()
            self._open_images = images(batch)
            yield batch
            self._end_work()
            self._end_step(ready, self._open_images)
        self.synchronize()
        if self.series.step_s:  # what was still queued belongs to the last step
            self.series.step_s[-1] += self.clock() - self._began_s
        self.stop()

    def _end_step(self, ready: float, images: int) -> None:
        if len(self.series.step_s) + 1 == self.warmup_steps:
            self.synchronize()
        ended = self.clock()
        self.series.step_s.append(ended - self._began_s - self._paused_s)
        self.series.wait_s.append(ready - self._began_s)
        self.series.images.append(images)
        self._began_s, self._paused_s, self._open_images = ended, 0.0, 0
        self._open_window()

    @property
    def images_begun(self) -> int:
        """Of all steps and of the one that is open: a validation may lie within a step."""
        return sum(self.series.images) + self._open_images

    def stop(self) -> None:
        """End the span; for a loop that was left early, too."""
        if self._is_open:
            self._close_window(self.clock())
            self._read_events()
        self._is_open = False

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Add the drained wall time of the block to `phases_s[name]`; a step that is open does not count it."""
        self._end_work()
        self.synchronize()
        began = self.clock()
        reopen = self._close_window(began)
        yield
        self.synchronize()
        self._mark = self._record_event()
        ended = self.clock()
        self.phases_s[name] = self.phases_s.get(name, 0.0) + ended - began
        if self._is_open:
            self._paused_s += ended - began
        if reopen:
            self.windows.append([ended])

    def _open_window(self) -> None:
        warm = len(self.series.step_s) >= self.warmup_steps
        if warm and not (self.windows and len(self.windows[-1]) == 1):
            self.windows.append([self._began_s])

    def _close_window(self, now: float) -> bool:
        """Whether there was one to close."""
        is_open = bool(self.windows) and len(self.windows[-1]) == 1
        if is_open:
            self.windows[-1].append(now)
        return is_open

    def _record_event(self) -> Any:
        """An event at the end of what the device has been given so far; None where it has no events."""
        if self.event is None:
            return None
        event = self.event()
        event.record()
        return event

    def _begin_work(self) -> None:
        self._work = self._record_event()

    def _end_work(self) -> None:
        """Mark the end of the device's work on the step that is open, if it is not marked yet."""
        if self._work is None:
            return
        ended = self._record_event()
        self._pending.append((self._mark, self._work, ended))
        self._mark, self._work = ended, None
        self._read_events()

    def _read_events(self) -> None:
        """Those that the device has passed: that waits for nothing. Once it is drained, all."""
        while self._pending and self._pending[0][-1].query():
            before, began, ended = self._pending.popleft()
            self.series.device_s.append(began.elapsed_time(ended) / 1e3)
            self.series.device_step_s.append(before.elapsed_time(ended) / 1e3)

    def enough(self, steps: int, seconds: float) -> bool:
        """Whether so much was measured, both of steps and of time."""
        return self.measured_steps >= steps and self.measured_s >= seconds

    @property
    def measured_steps(self) -> int:
        return max(0, len(self.series.step_s) - self.warmup_steps)

    @property
    def measured_s(self) -> float:
        return sum(self.series.step_s[self.warmup_steps :])


def latencies(
    work: Callable[[], object],
    synchronize: Callable[[], None],
    n: int,
    warmup: int,
    clock: Callable[[], float] = time.perf_counter,
) -> list[float]:
    """Seconds of each of the last `n` of `warmup + n` calls of `work`, the device drained around each."""
    seconds = []
    for _ in range(warmup + n):
        synchronize()
        began = clock()
        work()
        synchronize()
        seconds.append(clock() - began)
    return ticks(seconds[warmup:])
