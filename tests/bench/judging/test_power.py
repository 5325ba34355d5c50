"""The gate's promises, by simulation with its own decisions: few sessions here, 2,000 by `bench.gate --self-test`."""

import numpy as np
import pytest

from bench.judging import power, verdict
from bench.judging.policy import LOOKS, look_share

SESSIONS = 400


def rates(name, change=0.0):
    return power.judge_sessions(power.pair_changes(power.NOISES[name], np.random.default_rng(5), SESSIONS, change))


@pytest.mark.parametrize("name", power.NOISES)
def test_identical_builds_are_hardly_ever_called_worse(name):
    most = 0.03 if name.startswith("periodic") else 0.01
    assert rates(name).failed.mean() <= most + 3 * (most / SESSIONS) ** 0.5


def test_a_loss_that_is_accepted_is_hardly_ever_fail_and_one_of_five_percent_is_found():
    assert rates("normal", np.log(0.985)).failed.mean() <= 0.035
    assert rates("normal", np.log(0.95)).failed.mean() >= 0.93


def test_the_simulation_says_what_the_session_says():
    """One session at a time, by the functions that a session calls, and all at once."""
    changes = power.pair_changes(power.NOISES["normal"], np.random.default_rng(2), 60, -0.04)
    at_once = power.judge_sessions(changes)
    for i, session in enumerate(changes):
        for number, look in enumerate(LOOKS):
            evidence = [
                verdict.paired_evidence("c", str(m), row[:look], power.TOLERANCE) for m, row in enumerate(session)
            ]
            said = verdict.overall(verdict.judge(evidence, look_share(number)))
            if said != verdict.AMBIGUOUS:
                break
        assert (said == verdict.FAIL, said == verdict.PASS) == (at_once.failed[i], at_once.passed[i])


def test_a_fixed_order_would_take_a_load_of_its_own_period_for_a_change(monkeypatch):
    """Broken on purpose: AB BA AB BA, as it was."""
    fixed = np.tile(np.arange(LOOKS[-1]) % 2 == 1, (SESSIONS, 1))
    monkeypatch.setattr(power, "candidate_first", lambda random, sessions: fixed)
    assert rates("periodic, 4 runs").failed.mean() > 0.10


def test_days_of_other_levels_are_no_fail_against_baselines():
    table = power.baseline_table(SESSIONS)
    assert table["false FAIL %"].max() <= 2.5
    assert table["-15 %: FAIL %"].max() > 95


def test_histories_without_a_change_show_none_and_a_step_is_found():
    table = power.history_table(100)
    assert table["false changes %"].iloc[:4].max() <= 10
    assert table["-5 % found %"].iloc[0] >= 85
