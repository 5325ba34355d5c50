"""Known times in, known numbers out: the clock and the device are fakes."""

import math

import pytest

from bench.meter import Latency, Meter, Series, latencies, throughput


class Machine:
    """A clock that only moves when something is done, and a device that works behind the host's back."""

    def __init__(self):
        self.now = 0.0
        self.queued = 0.0
        self.drains = []

    def clock(self):
        return self.now

    def synchronize(self):
        self.now += self.queued
        self.queued = 0.0
        self.drains.append(self.now)


def batches(machine, n, wait_s):
    for _ in range(n):
        machine.now += wait_s
        yield [0] * 4


def test_step_times_waits_and_images_are_kept_raw():
    machine = Machine()
    meter = Meter(machine.synchronize, clock=machine.clock)
    for _ in meter.steps(batches(machine, 3, wait_s=0.25)):
        machine.now += 0.5
    assert meter.series.step_s == [0.75] * 3
    assert meter.series.wait_s == [0.25] * 3
    assert meter.series.images == [4] * 3


def test_queued_work_is_drained_where_the_span_begins_and_ends_and_nowhere_else():
    machine = Machine()
    meter = Meter(machine.synchronize, warmup_steps=2, clock=machine.clock)
    for _ in meter.steps(batches(machine, 5, wait_s=0.0)):
        machine.queued += 1.0  # a step costs the host nothing and the device one second
    assert meter.series.step_s == [0.0, 2.0, 0.0, 0.0, 3.0]
    assert len(machine.drains) == 3  # before the first step, after the warm-up, after the last
    result = throughput([meter.series], warmup_steps=2)
    assert result.images_per_s == pytest.approx(3 * 4 / 3.0)


def test_throughput_is_all_images_over_the_slowest_ranks_wall_time():
    fast = Series([9.0, 1.0, 1.0], [0.0, 0.0, 0.0], [8, 8, 8])
    slow = Series([9.0, 2.0, 2.0], [0.0, 1.0, 0.0], [8, 8, 4])
    result = throughput([fast, slow], warmup_steps=1)
    assert result.images_per_s == pytest.approx((16 + 12) / 4.0)
    assert result.images_per_s_per_card == pytest.approx(28 / 4.0 / 2)
    assert result.slowest_rank == 1
    assert result.data_wait_share == pytest.approx(1 / 4)
    assert result.step_p50_ms == pytest.approx(2000)


def test_nothing_after_the_warm_up_is_no_number_not_zero():
    result = throughput([Series([1.0], [0.0], [4])], warmup_steps=1)
    assert result.images_per_s is None
    assert result.step_p99_ms is None


def test_phases_add_up_and_are_drained():
    machine = Machine()
    meter = Meter(machine.synchronize, clock=machine.clock)
    for _ in range(2):
        with meter.phase("evaluation_s"):
            machine.queued += 1.5
    assert meter.phases_s == {"evaluation_s": 3.0}


def test_latency_is_drained_around_every_call_and_leaves_the_warm_up_out():
    machine = Machine()
    costs = iter([9.0, 9.0, 1.0, 2.0, 3.0])

    def work():
        machine.queued += next(costs)

    seconds = latencies(work, machine.synchronize, n=3, warmup=2, clock=machine.clock)
    assert seconds == [1.0, 2.0, 3.0]
    assert Latency.of(1, seconds).p50_ms == pytest.approx(2000)
    assert math.isclose(Latency.of(1, seconds).mean_ms, 2000)
