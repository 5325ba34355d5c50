"""Times the steps of a loop. Raw series are kept; warm-up is a slice of them, never a deletion.

The device is drained where the measured span begins and where it ends, not in between: a drain at every step would slow
what it measures. Clock and drain are passed in, so that tests use fakes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np


@dataclass
class Series:
    """What one rank measured, a value a step."""

    step_s: list[float] = field(default_factory=list)  # wall time from the end of the last step to the end of this one
    wait_s: list[float] = field(default_factory=list)  # the part of it spent waiting for the batch
    images: list[int] = field(default_factory=list)


@dataclass
class Meter:
    """Wrap the batches of a loop in `steps()`. May be used for several spans; their series join."""

    synchronize: Callable[[], None]
    warmup_steps: int = 0
    clock: Callable[[], float] = time.perf_counter
    series: Series = field(default_factory=Series)
    phases_s: dict[str, float] = field(default_factory=dict)

    def steps(self, batches: Iterable, images: Callable[[object], int] = len) -> Iterator:
        """Yield the batches, timing the wait for each and the work done on it until the next is asked for."""
        source = iter(batches)
        self.synchronize()
        began = self.clock()
        for batch in source:
            ready = self.clock()
            yield batch
            if len(self.series.step_s) + 1 == self.warmup_steps:
                self.synchronize()
            ended = self.clock()
            self.series.step_s.append(ended - began)
            self.series.wait_s.append(ready - began)
            self.series.images.append(images(batch))
            began = ended
        self.synchronize()
        if self.series.step_s:  # what was still queued belongs to the last step
            self.series.step_s[-1] += self.clock() - began

    @contextmanager
    def phase(self, name: str):
        """Add the drained wall time of the block to `phases_s[name]`."""
        self.synchronize()
        began = self.clock()
        yield
        self.synchronize()
        self.phases_s[name] = self.phases_s.get(name, 0.0) + self.clock() - began


@dataclass(frozen=True)
class Throughput:
    """Derived from the raw series of all ranks; every value None when nothing is left after the warm-up."""

    images_per_s: float | None = None
    images_per_s_per_card: float | None = None
    step_mean_ms: float | None = None
    step_p50_ms: float | None = None
    step_p90_ms: float | None = None
    step_p99_ms: float | None = None
    data_wait_share: float | None = None  # of the slowest rank's measured wall time
    measured_steps: int = 0
    slowest_rank: int | None = None


def throughput(ranks: list[Series], warmup_steps: int) -> Throughput:
    """Images of all ranks / wall time of the slowest rank, over the steps after the warm-up."""
    walls = [sum(rank.step_s[warmup_steps:]) for rank in ranks]
    slowest = int(np.argmax(walls))
    steps = np.array(ranks[slowest].step_s[warmup_steps:])
    if not steps.size:
        return Throughput()
    rate = sum(sum(rank.images[warmup_steps:]) for rank in ranks) / walls[slowest]
    p50, p90, p99 = np.percentile(steps, (50, 90, 99)) * 1e3
    return Throughput(
        images_per_s=rate,
        images_per_s_per_card=rate / len(ranks),
        step_mean_ms=float(steps.mean() * 1e3),
        step_p50_ms=float(p50),
        step_p90_ms=float(p90),
        step_p99_ms=float(p99),
        data_wait_share=sum(ranks[slowest].wait_s[warmup_steps:]) / walls[slowest],
        measured_steps=int(steps.size),
        slowest_rank=slowest,
    )


@dataclass(frozen=True)
class Latency:
    """Wall time of one batch from host picture to text, drained before and after each."""

    batch: int
    n: int
    mean_ms: float
    p50_ms: float
    p90_ms: float
    p99_ms: float

    @classmethod
    def of(cls, batch: int, seconds: list[float]) -> Latency:
        p50, p90, p99 = np.percentile(seconds, (50, 90, 99)) * 1e3
        return cls(batch, len(seconds), float(np.mean(seconds) * 1e3), float(p50), float(p90), float(p99))


def latencies(work: Callable[[], object], synchronize, n: int, warmup: int, clock=time.perf_counter) -> list[float]:
    """Seconds of each of the last `n` of `warmup + n` calls of `work`, the device drained around each."""
    seconds = []
    for _ in range(warmup + n):
        synchronize()
        began = clock()
        work()
        synchronize()
        seconds.append(clock() - began)
    return seconds[warmup:]
