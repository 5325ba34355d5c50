"""The gate's decisions, on changes whose truth is known."""

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from bench.errors import UserError
from bench.judging import verdict
from bench.judging.outcome import finding_row
from bench.judging.policy import LOOKS, TOLERANCES, look_share, pairs_at, tolerances
from bench.judging.statistics import t_cdfs, t_quantile
from bench.judging.verdict import AMBIGUOUS, FAIL, INCOMPLETE, NEW, PASS
from tests.support.records import make_record

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
        (-0.025, 0.02, AMBIGUOUS),  # the estimate lies beyond the margin, the interval does not
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
    doubtful = verdict.paired_evidence("a", "m", around(-0.08, 0.09), SPEED)
    calm = [verdict.paired_evidence(str(i), "m", around(0.0, 0.01), SPEED) for i in range(39)]
    assert verdict.judge([doubtful])[0].verdict == FAIL
    assert verdict.judge([doubtful, *calm])[0].verdict == AMBIGUOUS


def test_no_finding_at_all_is_no_pass():
    assert verdict.overall([]) == AMBIGUOUS


@pytest.mark.parametrize("margin", ["throughput", "throughput=x", "throughput=0", "throughput=1", "throughput=nan"])
def test_a_margin_that_is_none_is_refused(margin):
    with pytest.raises(UserError, match="want METRIC=SHARE"):
        tolerances(None, [margin])


def test_a_margin_of_no_metric_says_which_there_are():
    with pytest.raises(UserError, match="no metric 'speed'; there are"):
        tolerances(None, ["speed=0.03"])


def test_margins_replace_those_of_the_policy_and_nothing_else():
    found = tolerances(["throughput", "memory"], ["throughput=0.05"])
    assert found == {"throughput": replace(SPEED, margin=0.05), "memory": TOLERANCES["memory"]}
    assert SPEED.show(12.3456) == "12.35 images/s"
    assert TOLERANCES["memory"].show(2**21) == "2 MiB"
    assert ACCURACY.show(0.875) == "87.5 %"


def test_a_metric_that_is_none_is_refused():
    with pytest.raises(UserError, match="no metric 'speed'; there are throughput"):
        tolerances(["speed"], [])


# Where the margin decides, where the noise does, and where significance among many tests does.
@pytest.mark.parametrize(("sd", "tests"), [(0.005, 1), (0.005, 4), (0.03, 1), (0.03, 4), (0.4, 8)])
def test_what_is_advertised_is_found_in_nine_of_ten_sessions_and_is_the_smallest_such_loss(sd, tests):
    """By trials of the decision itself at the last look: 10 % more or less than the size would be seen."""
    random, pairs, share = np.random.default_rng(3), LOOKS[-1], look_share(len(LOOKS) - 1)
    size = verdict.detectable(sd, SPEED.loss, tests)

    def found_at(loss, sessions=4000):
        changes = random.normal(0, sd, (sessions, tests, pairs))
        changes[:, 0] -= loss
        estimate, error = verdict.mean_and_error(changes)
        p = t_cdfs(estimate / error, pairs - 1)
        half = t_quantile(verdict.certainty(share), pairs - 1) * error
        failed, _ = verdict.decide(estimate, half, p, np.full_like(p, SPEED.loss), share)
        return failed[:, 0].mean()

    assert 0.885 < found_at(size) < 0.915
    assert found_at(0.9 * size) < 0.86
    assert found_at(1.1 * size) > 0.93


@pytest.mark.parametrize("pairs", [3, 5, 32])
def test_the_share_that_is_found_is_that_of_trials_with_any_number_of_pairs(pairs):
    random, sd, share = np.random.default_rng(4), 0.02, look_share(len(LOOKS) - 1)
    size = verdict.detectable(sd, SPEED.loss, pairs=pairs)
    assert verdict.found_share(size, sd, SPEED.loss, 1, pairs) == pytest.approx(0.90, abs=1e-4)
    changes = random.normal(-size, sd, (20_000, 1, pairs))
    estimate, error = verdict.mean_and_error(changes)
    p, half = t_cdfs(estimate / error, pairs - 1), t_quantile(verdict.certainty(share), pairs - 1) * error
    failed, _ = verdict.decide(estimate, half, p, np.full_like(p, SPEED.loss), share)
    assert failed.mean() == pytest.approx(0.90, abs=0.012)


@pytest.mark.parametrize("sd", [0.02, 0.03])
def test_so_many_pairs_as_are_said_to_be_needed_pass_equal_builds_in_nine_of_ten_sessions(sd):
    random, share = np.random.default_rng(5), look_share(len(LOOKS) - 1)
    pairs = verdict.pairs_needed(sd, SPEED.loss)

    def passed(pairs):
        estimate, error = verdict.mean_and_error(random.normal(0, sd, (8000, pairs)))
        return (estimate - t_quantile(verdict.certainty(share), pairs - 1) * error > -SPEED.loss).mean()

    assert 0.88 < passed(pairs) < 0.93
    assert passed(round(0.85 * pairs)) < 0.88


def test_no_fewer_pairs_are_needed_than_the_first_look_has():
    assert verdict.pairs_needed(1e-6, SPEED.loss) == LOOKS[0]


def test_what_was_not_measured_has_no_number():
    found = verdict.unmeasured("cell", "memory", SPEED, INCOMPLETE, "why")
    assert found == verdict.Finding(
        verdict.Evidence("cell", "memory", 0.0, 0.0, None, 0, SPEED), INCOMPLETE, 0.0, 0.0, "why"
    )


def test_evidence_of_one_pair_and_of_two():
    one = verdict.paired_evidence("cell", "m", np.array([-0.5]), SPEED)
    assert (one.cell, one.metric, one.estimate, one.df, one.n, one.tolerance) == ("cell", "m", -0.5, None, 1, SPEED)
    assert math.isnan(one.error)
    two = verdict.paired_evidence("cell", "m", np.array([-0.5, -0.3]), SPEED)
    assert (two.cell, two.metric, two.df, two.n) == ("cell", "m", 1, 2)
    assert (two.estimate, two.error) == (pytest.approx(-0.4), pytest.approx(0.1))


def test_a_single_look_may_spend_the_whole_level_and_no_more():
    """p = 0.015, of 1 %: as if the look were the only one."""
    t = t_quantile(0.985, 15)
    near = replace(SPEED, margin=0.0001)
    evidence = verdict.paired_evidence("cell", "m", around(-0.10, 0.10 * 4 / t), near)
    assert evidence.p_worse == pytest.approx(0.015, rel=1e-3)
    assert verdict.judge([evidence])[0].verdict == AMBIGUOUS
    assert verdict.judge([]) == []


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
    """p = 0.007: worse at the 1 % of a single look, open when only a quarter of it may be spent."""
    t = t_quantile(0.993, 15)
    evidence = verdict.paired_evidence("cell", "m", around(-0.10, 0.10 * 4 / t), SPEED)
    assert evidence.p_worse == pytest.approx(0.007, rel=1e-3)
    near = TOLERANCES["throughput"]
    small = replace(evidence, tolerance=replace(near, margin=0.0001))
    assert verdict.judge([small], 1.0)[0].verdict == FAIL
    assert verdict.judge([small], 0.25)[0].verdict == AMBIGUOUS


@pytest.mark.parametrize("share", [1.0, 0.25])
def test_the_interval_decides_on_both_sides_of_the_margin(share):
    """The bound that decides lies just before and just behind the margin, from either side."""
    error = 0.01 / 4
    bound = t_quantile(1 - min(0.05 * share, 0.025), 15) * error
    for mean, expected in (
        (-SPEED.loss + bound * 1.02, PASS), (-SPEED.loss + bound * 0.98, AMBIGUOUS),
        (-SPEED.loss - bound * 1.02, FAIL), (-SPEED.loss - bound * 0.98, AMBIGUOUS),
    ):  # fmt: skip
        [found] = verdict.judge([verdict.paired_evidence("c", "m", around(mean, 0.01), SPEED)], share)
        assert found.verdict == expected
        assert found.verdict != FAIL or found.high < -SPEED.loss  # the printed interval, too


def test_looks_without_end_spend_no_more_than_all():
    shares = [look_share(number) for number in range(60)]
    assert sum(shares) == pytest.approx(1.0)
    assert all(a >= b > 0 for a, b in pairwise(shares))
    assert [pairs_at(number) for number in range(5)] == [6, 10, 16, 32, 48]


def test_what_is_missing_is_never_a_pass_and_does_not_hide_a_fail():
    for mean, expected in ((0.0, INCOMPLETE), (-0.1, FAIL)):
        one = replace(verdict.paired_evidence("c", "accuracy", around(mean, 0.01), SPEED), missing="5 of 6 runs")
        [found] = verdict.judge([one])
        assert found.verdict == expected
        assert expected == FAIL or found.reason == "5 of 6 runs"


def test_a_canary_takes_passes_back_and_nothing_else():
    findings = verdict.judge([verdict.paired_evidence(str(m), "m", around(m, 0.01), SPEED) for m in (0.0, -0.2)])
    taken = verdict.withdraw_passes(findings, "moved")
    assert [(one.verdict, one.reason) for one in taken] == [(AMBIGUOUS, "moved"), (FAIL, "")]


def test_worse_beyond_doubt_fails_only_beyond_the_margin():
    assert judged([-SPEED.loss * 1.001] * 6) == FAIL
    assert judged([-SPEED.loss * 0.999] * 6) == PASS


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        ([PASS, PASS], PASS),
        ([PASS, NEW], NEW),
        ([NEW, AMBIGUOUS], AMBIGUOUS),
        ([INCOMPLETE, AMBIGUOUS, PASS], INCOMPLETE),
        ([INCOMPLETE, FAIL], FAIL),
        ([PASS, AMBIGUOUS, FAIL], FAIL),
    ],
)
def test_the_worst_verdict_is_that_of_the_session(verdicts, expected):
    evidence = verdict.paired_evidence("c", "m", np.zeros(6), SPEED)
    assert verdict.overall([verdict.Finding(evidence, one, 0.0, 0.0) for one in verdicts]) == expected


def test_exit_codes():
    assert verdict.EXIT == {PASS: 0, FAIL: 1, AMBIGUOUS: 3, NEW: 3, INCOMPLETE: 4}


def test_rounding_is_no_noise_and_one_pair_knows_of_none():
    equal = verdict.paired_evidence("c", "m", np.array([0.1 + 0.2, 0.3, 0.3]), SPEED)
    assert equal.error == 0.0
    assert equal.bound(0.975) == 0.0
    alone = verdict.paired_evidence("c", "m", np.array([-0.5]), SPEED)
    assert (alone.df, alone.p_worse, alone.bound(0.975)) == (None, 1.0, math.inf)


def test_what_each_metric_reads_of_a_record():
    latency = [{"batch": 8, "seconds": [0.03] * 3}, {"batch": 1, "seconds": [0.004, 0.005, 0.009]}]
    record = make_record(latency=latency, memory={"peak_bytes": [None, 7, 9, 0]})
    read = {name: tolerance.read(record) for name, tolerance in TOLERANCES.items()}
    assert read == {
        "throughput": pytest.approx(320), "latency": pytest.approx(5.0), "memory": 9,
        "accuracy": pytest.approx(49 / 98), "step": pytest.approx(100),
    }  # fmt: skip
    nothing = replace(record, latency=[], memory={}, accuracy=None, throughput={})
    assert {tolerance.read(nothing) for tolerance in TOLERANCES.values()} == {None}
