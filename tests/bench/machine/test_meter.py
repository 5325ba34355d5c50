"""Known times in, known numbers out: the clock and the device are fakes."""

import math

import pytest

from bench.machine.meter import Meter, latencies
from bench.records.checks import validation_errors
from bench.records.derive import with_derived
from bench.records.rates import latency_percentiles, rank_share, throughput
from bench.records.series import Series
from tests.support.records import make_record


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
    assert list(meter.series.step_s) == [0.75] * 3
    assert list(meter.series.wait_s) == [0.25] * 3
    assert list(meter.series.images) == [4] * 3


def test_queued_work_is_drained_where_the_span_begins_and_ends_and_nowhere_else():
    machine = Machine()
    meter = Meter(machine.synchronize, warmup_steps=2, clock=machine.clock)
    for _ in meter.steps(batches(machine, 5, wait_s=0.0)):
        machine.queued += 1.0  # a step costs the host nothing and the device one second
    assert list(meter.series.step_s) == [0.0, 2.0, 0.0, 0.0, 3.0]
    assert len(machine.drains) == 3  # before the first step, after the warm-up, after the last
    result = throughput([meter.series], warmup_steps=2)
    assert result["images_per_s"] == pytest.approx(3 * 4 / 3.0)


def test_throughput_is_all_images_over_the_slowest_ranks_wall_time():
    fast = Series([9.0, 1.0, 1.0], [0.0, 0.0, 0.0], [8, 8, 8])
    slow = Series([9.0, 2.0, 2.0], [0.0, 1.0, 0.0], [8, 8, 4])
    result = throughput([fast, slow], warmup_steps=1)
    assert result["images_per_s"] == pytest.approx((16 + 12) / 4.0)
    assert result["images_per_s_per_card"] == pytest.approx(28 / 4.0 / 2)
    assert result["slowest_rank"] == 1
    assert result["data_wait_share"] == pytest.approx(1 / 4)
    assert result["step_p50_ms"] == pytest.approx(2000)


def test_nothing_after_the_warm_up_is_no_number_not_zero():
    result = throughput([Series([1.0], [0.0], [4])], warmup_steps=1)
    assert result["images_per_s"] is None
    assert result["step_p99_ms"] is None


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
    assert latency_percentiles(1, seconds)["p50_ms"] == pytest.approx(2000)
    assert math.isclose(latency_percentiles(1, seconds)["mean_ms"], 2000)


def test_a_phase_inside_a_step_is_not_the_steps_time_nor_in_a_measured_window():
    machine = Machine()
    meter = Meter(machine.synchronize, warmup_steps=1, clock=machine.clock)
    for i, _ in enumerate(meter.steps(batches(machine, 3, wait_s=0.0))):
        machine.queued += 1.0
        if i == 1:
            with meter.phase("checkpoint_s"):
                machine.now += 5.0
    assert list(meter.series.step_s) == [1.0, 1.0, 1.0]
    assert meter.phases_s == {"checkpoint_s": 5.0}
    assert meter.windows == [[1.0, 2.0], [7.0, 8.0]]


def test_spans_join_and_warm_up_is_made_once():
    machine = Machine()
    meter = Meter(machine.synchronize, warmup_steps=1, clock=machine.clock)
    for _ in range(2):
        for _ in meter.steps(batches(machine, 2, wait_s=0.5)):
            machine.now += 0.5
        machine.now += 10.0
    assert (meter.measured_steps, meter.measured_s, meter.first_s) == (3, 3.0, 0.0)
    assert meter.windows == [[1.0, 2.0], [12.0, 14.0]]


def test_a_loop_left_early_still_has_its_window():
    machine = Machine()
    meter = Meter(machine.synchronize, clock=machine.clock)
    for _ in meter.steps(batches(machine, 5, wait_s=1.0)):
        if len(meter.series.step_s) == 2:
            break
    meter.stop()
    assert meter.windows == [[0.0, 3.0]]


class Event:
    """A device's time stamp: it is reached when the device has drained, at the time the work before it ends."""

    def __init__(self, machine):
        self.machine = machine

    def record(self):
        self.at = self.machine.now + self.machine.queued

    def query(self):
        return self.machine.now >= self.at

    def elapsed_time(self, other):
        return (other.at - self.at) * 1e3


def test_the_devices_own_clock_times_its_work_and_not_the_wait_for_data():
    machine = Machine()
    meter = Meter(machine.synchronize, clock=machine.clock, event=lambda: Event(machine))
    for _ in meter.steps(batches(machine, 4, wait_s=0.25)):
        machine.queued += 1.0
        machine.synchronize()
    assert list(meter.series.device_s) == pytest.approx([1.0] * 4)
    result = throughput([meter.series], warmup_steps=0, total_s=10.0)
    assert result["images_per_s"] == pytest.approx(16 / 5)
    assert result["images_per_s_core"] == pytest.approx(16 / 4)
    assert result["images_per_s_end_to_end"] == pytest.approx(16 / 10)
    assert result["device_step_mean_ms"] == pytest.approx(1000)


def test_without_events_the_core_rate_leaves_the_wait_out():
    result = throughput([Series([2.0, 2.0], [0.5, 0.5], [6, 6])], warmup_steps=0)
    assert result["images_per_s_core"] == pytest.approx(12 / 3)


def test_a_straggler_is_seen_in_every_step_and_luck_in_half():
    straggler = [Series([1.0] * 4, [0.0] * 4, [1] * 4), Series([2.0] * 4, [0.0] * 4, [1] * 4)]
    assert throughput(straggler, 0)["slowest_share"] == 1.0
    assert throughput(straggler, 0)["skew_share"] == pytest.approx(0.5)
    luck = [Series([1.0, 2.0] * 2, [0.0] * 4, [1] * 4), Series([2.0, 1.0] * 2, [0.0] * 4, [1] * 4)]
    assert throughput(luck, 0)["slowest_share"] == 0.5
    assert rank_share(1, straggler[1], 0)["wall_s"] == 8.0


class Queue:
    """A card that takes 30.0 ms for each step; its host enqueues one in 1 ms and waits for it every 50."""

    def __init__(self):
        self.now = self.done = 0.0

    def clock(self):
        return self.now

    def synchronize(self):
        self.now = max(self.now, self.done)

    def launch(self):
        self.now += 0.001
        self.done = max(self.done, self.now) + 0.030

    def event(self):
        return QueueEvent(self)


class QueueEvent:
    def __init__(self, queue):
        self.queue = queue

    def record(self):
        self.at = max(self.queue.now, self.queue.done)

    def query(self):
        return self.queue.now >= self.at

    def elapsed_time(self, other):
        return (other.at - self.at) * 1e3


@pytest.mark.parametrize("steps", [120, 350, 1000])
def test_a_card_of_even_steps_is_steady_however_its_host_enqueues(steps):
    """By the host's clock p50 was 1 ms, p99 1,452 ms and the run not steady; images/s was right."""
    queue = Queue()
    meter = Meter(queue.synchronize, warmup_steps=20, clock=queue.clock, event=queue.event)
    for number in meter.steps(range(steps), images=lambda _: 64):
        queue.launch()
        if number % 50 == 49:
            queue.synchronize()
    record = with_derived(make_record(series=[meter.series.to_record()], warmup_steps=20))
    rates = record.throughput
    assert rates["step_p50_ms"] == pytest.approx(30) and rates["step_p99_ms"] < 31.5
    assert rates["images_per_s"] == pytest.approx(64 / 0.030, rel=0.01)
    assert record.steady["verdict"] == "steady"
    assert not [error for error in validation_errors(record) if "steps" in error or "mean" in error]


def test_a_checkpoint_is_no_part_of_the_devices_step():
    queue = Queue()
    meter = Meter(queue.synchronize, clock=queue.clock, event=queue.event)
    for number in meter.steps(range(6), images=lambda _: 64):
        queue.launch()
        if number == 2:
            with meter.phase("checkpoint_s"):
                queue.now += 5.0
    assert max(meter.series.device_step_s) < 0.035
    assert sum(meter.series.device_step_s) == pytest.approx(sum(meter.series.step_s), rel=0.02)
