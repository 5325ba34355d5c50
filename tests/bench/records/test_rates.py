"""Rates, percentiles and shares of small series, against numbers worked out by hand."""

from __future__ import annotations

import pytest

pytest.importorskip("bench.records.sections", reason="until merged")
from bench.records.rates import after_warmup, core_s, latency_percentiles, nothing_measured, rank_share, throughput
from bench.records.series import Series

# Two ranks, one warm-up step. Rank 1 takes 1.2 s and is the slower one; of its three steps it is slower in two.
FAST = Series([5.0, 0.2, 0.4, 0.3], [1.0, 0.02, 0.04, 0.03], [8, 8, 8, 4])
SLOW = Series([6.0, 0.3, 0.35, 0.55], [1.0, 0.1, 0.05, 0.15], [8, 8, 8, 6])


def test_throughput_is_the_images_of_all_over_the_wall_of_the_slowest():
    found = throughput([FAST, SLOW], 1, total_s=20.0)
    assert found["images_per_s"] == pytest.approx((20 + 22) / 1.2)
    assert found["images_per_s_per_card"] == pytest.approx((20 + 22) / 1.2 / 2)
    assert found["images_per_s_core"] == pytest.approx((20 + 22) / 0.9)
    assert found["images_per_s_end_to_end"] == pytest.approx((28 + 30) / 20)
    assert (found["measured_steps"], found["slowest_rank"]) == (3, 1)
    assert found["slowest_share"] == pytest.approx(2 / 3)
    assert found["skew_share"] == pytest.approx((1.2 - 0.9) / 1.2)
    assert found["data_wait_share"] == pytest.approx(0.3 / 1.2)


def test_steps_are_those_of_the_slowest_rank_in_ms():
    found = throughput([FAST, SLOW], 1)
    assert found["step_mean_ms"] == pytest.approx(400)
    assert found["step_sd_ms"] == pytest.approx(((100**2 + 50**2 + 150**2) / 3) ** 0.5)
    assert found["step_p50_ms"] == pytest.approx(350)
    assert found["step_p90_ms"] == pytest.approx(350 + 0.8 * 200)
    assert found["step_p99_ms"] == pytest.approx(350 + 0.98 * 200)
    assert found["step_max_ms"] == pytest.approx(550)
    assert found["device_step_mean_ms"] is None and found["images_per_s_end_to_end"] is None


def test_a_device_that_keeps_its_own_time_is_believed_over_the_host():
    timed = Series([1.0, 0.5, 0.5], [0.5, 0.1, 0.1], [4, 4, 4], [0.9, 0.2, 0.3])
    found = throughput([timed], 1)
    assert found["device_step_mean_ms"] == pytest.approx(250)
    assert found["images_per_s_core"] == pytest.approx(8 / 0.5)
    assert core_s(after_warmup(timed, 1)) == pytest.approx(0.5)
    assert found["slowest_share"] == 1.0 and found["skew_share"] == 0.0


@pytest.mark.parametrize(
    "ranks, warmup",
    [([], 0), ([Series([1.0], [0.1], [4])], 1), ([Series([0.0, 0.0], [0.0, 0.0], [4, 4])], 1)],
    ids=["no rank", "all warm-up", "no time"],
)
def test_where_nothing_is_left_nothing_is_said(ranks, warmup):
    assert throughput(ranks, warmup, total_s=5.0) == nothing_measured()


def test_the_least_that_counts():
    """One step of one image: what is above zero counts."""
    found = throughput([Series([0.5], [0.0], [1])], 0, total_s=0.5)
    assert (found["images_per_s"], found["images_per_s_end_to_end"], found["measured_steps"]) == (2.0, 2.0, 1)
    assert throughput([Series([0.5], [0.5], [1])], 0)["images_per_s_core"] is None  # it did nothing but wait


def test_ranks_of_unlike_lengths_are_compared_where_both_have_steps():
    short = Series([0.1], [0.0], [1])
    found = throughput([short, Series([0.3, 0.4], [0.0, 0.0], [1, 1])], 0)
    assert found["slowest_share"] == 1.0
    assert throughput([Series([], [], []), Series([0.3], [0.0], [1])], 0)["slowest_share"] == 0.0


def test_what_one_rank_says():
    share = rank_share(3, SLOW, 1)
    assert (share["rank"], share["images"]) == (3, 22)
    assert share["wall_s"] == pytest.approx(1.2)
    assert share["step_p50_ms"] == pytest.approx(350) and share["step_p99_ms"] == pytest.approx(350 + 0.98 * 200)
    assert share["data_wait_share"] == pytest.approx(0.25)
    empty = rank_share(0, SLOW, 4)
    assert (empty["step_p50_ms"], empty["step_p99_ms"], empty["data_wait_share"], empty["images"]) == (
        None,
        None,
        None,
        0,
    )


def test_latency_in_ms():
    found = latency_percentiles(2, [0.010, 0.020, 0.030, 0.040, 0.050])
    assert (found["batch"], found["n"]) == (2, 5)
    assert found["mean_ms"] == pytest.approx(30) and found["p50_ms"] == pytest.approx(30)
    assert found["p90_ms"] == pytest.approx(46) and found["p99_ms"] == pytest.approx(49.6)


def test_where_nothing_is_measured_every_value_is_missing_but_the_count():
    missing = nothing_measured()
    assert missing["measured_steps"] == 0
    assert {value for name, value in missing.items() if name != "measured_steps"} == {None}
