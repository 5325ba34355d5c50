"""The gate's decisions, on changes whose truth is known."""

import math

import numpy as np
import pytest

from bench.errors import UserError
from bench.judging import verdict
from bench.judging.noise import Spread
from bench.judging.pairs import run_order
from bench.judging.policy import LOOKS, TOLERANCES, tolerances
from bench.judging.power import HOSTS, advertised, run_trials
from bench.judging.verdict import AMBIGUOUS, FAIL, PASS

SPEED, ACCURACY = TOLERANCES["throughput"], TOLERANCES["accuracy"]


def judged(changes, tolerance=SPEED):
    [found] = verdict.judge([verdict.paired_evidence("cell", "metric", np.array(changes), tolerance)])
    return found.verdict


def around(mean, sd, n=16):
    """`n` changes of exactly this mean and standard deviation."""
    shape = np.linspace(-1, 1, n)
    return mean + sd * (shape - shape.mean()) / shape.std(ddof=1)


@pytest.mark.parametrize(
    ("mean", "sd", "expected"),
    [
        (0.0, 0.01, PASS),
        (0.05, 0.01, PASS),  # better
        (-0.05, 0.01, FAIL),
        (-0.01, 0.002, PASS),  # worse beyond doubt, and by less than is accepted
        (-0.05, 0.10, AMBIGUOUS),  # as bad, but the noise hides it
        (0.0, 0.10, AMBIGUOUS),  # never a pass because nothing could be seen
    ],
)
def test_verdicts(mean, sd, expected):
    assert judged(around(mean, sd)) == expected


def test_signs_are_turned_so_that_worse_is_negative():
    faster = verdict.signed_changes([100.0], [110.0], SPEED)
    slower = verdict.signed_changes([10.0], [11.0], TOLERANCES["latency"])
    less_read = verdict.signed_changes([0.80], [0.79], ACCURACY)
    assert faster == pytest.approx(math.log(1.1))
    assert slower == pytest.approx(-math.log(1.1))
    assert less_read == pytest.approx(-0.01)


@pytest.mark.parametrize(("lost", "expected"), [(0.0, PASS), (-0.004, PASS), (-0.01, FAIL)])
def test_what_repeats_exactly_needs_no_statistics(lost, expected):
    assert judged([lost] * 6, ACCURACY) == expected


def test_one_pair_shows_nothing():
    assert judged([-0.5]) == AMBIGUOUS


def test_many_tests_at_once_raise_the_bar():
    """A p that fails alone is no alarm as one of forty."""
    doubtful = verdict.paired_evidence("a", "m", around(-0.05, 0.058), SPEED)
    calm = [verdict.paired_evidence(str(i), "m", around(0.0, 0.01), SPEED) for i in range(39)]
    assert verdict.judge([doubtful])[0].verdict == FAIL
    assert verdict.judge([doubtful, *calm])[0].verdict == AMBIGUOUS


def test_no_finding_at_all_is_no_pass():
    assert verdict.overall([]) == AMBIGUOUS


def test_orders_alternate_and_are_equally_many_at_every_look():
    assert run_order(0, 2) == [(0, "base"), (0, "candidate"), (1, "candidate"), (1, "base")]
    for look in LOOKS:
        first = [side for pair, side in run_order(0, look)[::2]]
        assert first.count("base") == first.count("candidate")


def test_the_self_test_keeps_what_the_policy_promises():
    for host in HOSTS[:2]:
        rates = run_trials(host, 150)
        assert rates["false alarms %"] <= 1
        assert rates["found %"] >= 90


def test_the_self_test_sees_a_gate_that_cries_wolf(monkeypatch):
    """Broken on purpose: without the margin and with a level of 30 %, false alarms must show."""
    monkeypatch.setattr(verdict, "FALSE_ALARM", 0.3)
    monkeypatch.setattr(
        "bench.judging.power.TOLERANCE", tolerances(["throughput"], ["throughput=0.0001"])["throughput"]
    )
    assert run_trials(HOSTS[2], 60)["false alarms %"] > 5


def test_drift_falls_out_of_the_pairs():
    """A host that slows by 5 % over a session looks like no change of the code."""
    host = HOSTS[1]
    means = host.changes(np.random.default_rng(0), 200, 0.0).mean(axis=-1)
    assert abs(means.mean()) < 0.001


def test_what_is_advertised_grows_with_the_noise():
    random = np.random.default_rng(0)
    quiet, busy = (np.median([advertised(HOSTS[i], random) for _ in range(20)]) for i in (0, 3))
    assert SPEED.margin < quiet < busy
    assert Spread(0.01, 16).upper > 0.01


@pytest.mark.parametrize("margin", ["throughput", "throughput=x", "throughput=0", "throughput=2"])
def test_a_margin_that_is_none_is_refused(margin):
    with pytest.raises(UserError, match="want METRIC=SHARE"):
        tolerances(None, [margin])


def test_a_margin_of_no_metric_says_which_there_are():
    with pytest.raises(UserError, match="no metric 'speed'; there are"):
        tolerances(None, ["speed=0.03"])


def test_a_metric_that_is_none_is_refused():
    with pytest.raises(UserError, match="no metric 'speed'; there are throughput"):
        tolerances(["speed"], [])
