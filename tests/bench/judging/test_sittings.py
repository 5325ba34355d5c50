"""Sittings: by occasion and host, and Student's t on their means."""

import math
from dataclasses import dataclass

import numpy as np
import pytest

from bench.judging.policy import TOLERANCES
from bench.judging.sittings import seconds_between, sitting_change, sitting_evidence, split_sittings
from bench.judging.statistics import t_quantile

SPEED, LATENCY, ACCURACY = (TOLERANCES[name] for name in ("throughput", "latency", "accuracy"))


@dataclass
class Run:
    started_utc: str
    host: str = "a"
    record_id: str = ""


def at(clock: str, host: str = "a", name: str = "") -> Run:
    return Run(f"2026-02-01T{clock}:00+00:00", host, name)


def test_runs_no_further_than_an_hour_apart_are_of_one_sitting():
    runs = [at("10:00"), at("11:00"), at("12:00"), at("13:01")]
    assert split_sittings(runs[::-1]) == [runs[:3], runs[3:]]
    assert seconds_between(runs[0], runs[1]) == 3600


def test_each_host_has_sittings_of_its_own_and_equal_times_are_ordered_by_id():
    one, other, third = at("10:00", "a", "2"), at("10:00", "b", "3"), at("10:00", "a", "1")
    assert split_sittings([one, other, third]) == [[third, one], [other]]
    assert split_sittings([]) == []


def test_the_change_between_sittings_by_hand():
    """Old 1, 3 (mean 2), new 5, 6, 7 (mean 6): squares 2 + 2 on 3 degrees, error sqrt(4 / 3 x (1/2 + 1/3))."""
    estimate, error, df = sitting_change(np.array([1.0, 3.0]), np.array([5.0, 6.0, 7.0]))
    assert (float(estimate), df) == (4.0, 3)
    assert float(error) == pytest.approx(math.sqrt(4 / 3 * 5 / 6))
    estimate, error, df = sitting_change(np.array([1.0, 3.0]), np.array([5.0]), [np.array([2.0, 4.0, 6.0])])
    assert (float(estimate), df) == (3.0, 3)  # squares 2 + 8 on 1 + 2 degrees
    assert float(error) == pytest.approx(math.sqrt(10 / 3 * 1.5))


def test_many_gates_at_once_are_those_of_one():
    old, new = np.array([[1.0, 3.0], [10.0, 14.0]]), np.array([[5.0, 6.0], [1.0, 2.0]])
    estimate, error, df = sitting_change(old, new)
    alone = [sitting_change(*pair) for pair in zip(old, new, strict=True)]
    assert estimate.tolist() == [float(one[0]) for one in alone]
    assert error.tolist() == pytest.approx([float(one[1]) for one in alone])
    assert df == 2


def test_one_sitting_a_side_has_no_error_and_equal_sittings_none_but_zero():
    _, error, df = sitting_change(np.array([1.0]), np.array([2.0]))
    assert (df, math.isnan(float(error))) == (0, True)
    _, error, df = sitting_change(np.array([0.3, 0.1 + 0.2]), np.array([0.3]))
    assert (df, float(error)) == (1, 0.0)


def test_what_is_said_of_sittings_is_of_logarithms_of_their_runs():
    old, new = [[100.0, 121.0], [110.0]], [[99.0], [99.0]]  # both old sittings are log 110 on average
    found = sitting_evidence("cell", "throughput", old, new, SPEED)
    assert found.estimate == pytest.approx(math.log(0.9))
    assert (found.error, found.df, found.n) == (0.0, 2, 2)
    assert (found.cell, found.metric, found.tolerance) == ("cell", "throughput", SPEED)
    assert found.levels == (110.0, 99.0)
    assert found.said == "2 + 2 sittings"
    slower = sitting_evidence("cell", "latency", [[10.0], [10.0]], [[11.0]], LATENCY)
    assert slower.estimate == pytest.approx(-math.log(1.1))
    fewer = sitting_evidence("cell", "accuracy", [[0.9, 0.8], [0.85]], [[0.8]], ACCURACY)
    assert fewer.estimate == pytest.approx(-0.05)


def test_one_sitting_a_side_shows_nothing_and_says_what_to_do():
    found = sitting_evidence("cell", "throughput", [[100.0, 101.0]], [[50.0, 50.0]], SPEED)
    assert found.df is None
    assert found.p_worse == 1.0
    assert found.said.startswith("one sitting a side: how far sittings of one build lie apart is not known; promote")


def test_sittings_of_earlier_builds_say_how_far_sittings_lie_apart():
    found = sitting_evidence("cell", "throughput", [[100.0]], [[80.0]], SPEED, [[[100.0], [110.0]]])
    spread = math.log(1.1) / math.sqrt(2)
    assert found.df == 1
    assert found.error == pytest.approx(spread * math.sqrt(2))
    assert found.bound(0.975) == pytest.approx(t_quantile(0.975, 1) * spread * math.sqrt(2))
