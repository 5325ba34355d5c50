"""The gate's decisions, on changes whose truth is known."""

import math

import numpy as np
import pytest

from bench.errors import UserError
from bench.judging import verdict
from bench.judging.noise import Spread
from bench.judging.outcome import finding_row
from bench.judging.pairs import run_order
from bench.judging.policy import LOOKS, MISSED, TOLERANCES, tolerances
from bench.judging.power import HOSTS, advertised, run_trials
from bench.judging.statistics import t_quantile
from bench.judging.verdict import AMBIGUOUS, FAIL, NEW, PASS

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


@pytest.mark.parametrize("sd", [0.005, 0.03])  # where the margin decides, and where the noise does
@pytest.mark.parametrize("tests", [1, 4])
def test_what_is_advertised_is_found_in_nine_of_ten_sessions_and_is_the_smallest_such_loss(sd, tests):
    random, pairs = np.random.default_rng(3), LOOKS[-1]
    size = verdict.detectable(sd, SPEED.loss, tests)

    def share_found(loss, sessions=1500):
        changes = random.normal(-loss, sd, (sessions, pairs))
        calm = [verdict.paired_evidence(str(i), "m", around(0.0, sd), SPEED) for i in range(tests - 1)]
        one = (verdict.paired_evidence("cell", "m", row, SPEED) for row in changes)
        return np.mean([verdict.judge([evidence, *calm])[0].verdict == FAIL for evidence in one])

    assert 0.87 < share_found(size) < 0.94
    assert share_found(size - 0.5 * sd / math.sqrt(pairs)) < 0.85


def test_the_interval_of_a_finding_is_students_around_the_mean_of_the_pairs():
    changes = np.array([-0.03, 0.01, -0.02, 0.0, 0.01])  # mean -0.006, sd 0.018166; t(0.975, 4) = 2.776
    [found] = verdict.judge([verdict.paired_evidence("cell", "throughput", changes, SPEED)])
    assert (found.low, found.high) == (pytest.approx(-0.028556, abs=1e-5), pytest.approx(0.016556, abs=1e-5))
    assert found.evidence.n == 5
    printed = finding_row(found)
    assert printed["95 % interval"] == "-2.82 % to +1.67 %"
    assert printed["better by"] == "-0.60 %"


def test_an_interval_of_a_share_is_in_points():
    [found] = verdict.judge([verdict.paired_evidence("cell", "accuracy", around(0.01, 0.002, 5), ACCURACY)])
    assert finding_row(found)["95 % interval"] == "+0.75 points to +1.25 points"
    assert finding_row(found)["accepted loss"] == "0.5 points"


def test_every_look_costs_its_share_of_the_level():
    """p = 0.007: worse at the 1 % of a single look, open when verdicts are sought three times."""
    t = t_quantile(0.993, 15)
    evidence = verdict.paired_evidence("cell", "m", around(-0.05, 0.05 * 4 / t), SPEED)
    assert evidence.p_worse == pytest.approx(0.007, rel=1e-3)
    assert verdict.judge([evidence], looks=1)[0].verdict == FAIL
    assert verdict.judge([evidence], looks=3)[0].verdict == AMBIGUOUS


def test_not_worse_than_the_margin_is_shown_at_the_level_of_one_look():
    """The lower bound lies just above and just below the margin."""
    error = 0.01 / 4
    bound = t_quantile(1 - MISSED / 3, 15) * error
    for mean, expected in ((-SPEED.loss + bound * 1.02, PASS), (-SPEED.loss + bound * 0.98, AMBIGUOUS)):
        assert verdict.judge([verdict.paired_evidence("c", "m", around(mean, 0.01), SPEED)])[0].verdict == expected


def test_worse_beyond_doubt_fails_only_beyond_the_margin():
    assert judged([-SPEED.loss * 1.001] * 6) == FAIL
    assert judged([-SPEED.loss * 0.999] * 6) == PASS


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        ([PASS, PASS], PASS),
        ([PASS, NEW], NEW),
        ([NEW, AMBIGUOUS], AMBIGUOUS),
        ([PASS, AMBIGUOUS, FAIL], FAIL),
    ],
)
def test_the_worst_verdict_is_that_of_the_session(verdicts, expected):
    evidence = verdict.paired_evidence("c", "m", np.zeros(6), SPEED)
    assert verdict.overall([verdict.Finding(evidence, one, 0.0, 0.0) for one in verdicts]) == expected


def test_exit_codes():
    assert verdict.EXIT == {PASS: 0, FAIL: 1, AMBIGUOUS: 3, NEW: 3}


def test_rounding_is_no_noise_and_one_pair_knows_of_none():
    equal = verdict.paired_evidence("c", "m", np.array([0.1 + 0.2, 0.3, 0.3]), SPEED)
    assert equal.error == 0.0
    assert equal.bound(0.975) == 0.0
    alone = verdict.paired_evidence("c", "m", np.array([-0.5]), SPEED)
    assert (alone.df, alone.p_worse, alone.bound(0.975)) == (None, 1.0, math.inf)
