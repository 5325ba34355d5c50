import numpy as np
import pytest

from bench.records import steady as module
from bench.records.steady import FEWEST, steady_reasons, student_t

DRAW = np.random.default_rng(1)


def steady(step_s):
    return module.steady(step_s, np.full(len(step_s), 32))


def steps(n=1000, noise=0.05, drift=0.0):
    return (1 + noise * DRAW.standard_normal(n)) * np.linspace(1, 1 + drift, n) * 0.02


def share_steady(trials=200, **kind) -> float:
    return sum(steady(steps(**kind))["verdict"] == "steady" for _ in range(trials)) / trials


def test_noise_without_drift_is_steady_and_drift_beyond_the_limit_is_not():
    assert share_steady() == 1.0
    assert share_steady(drift=0.15) == 0.0


def test_a_drift_just_at_the_limit_is_called_steady_in_at_most_one_of_twenty():
    """The promise of an equivalence test: 5 % at the border (one of two tails, and the other test besides)."""
    assert share_steady(trials=400, drift=0.105) <= 0.05


@pytest.mark.parametrize("kind", [{"n": 100, "noise": 0.3}, {"n": 20, "noise": 0.2}])
def test_too_noisy_to_show_is_not_steady(kind):
    assert share_steady(**kind) < 0.05


def test_a_warm_up_that_was_too_short_is_found_and_said():
    series = np.concatenate((np.linspace(0.04, 0.02, 100), np.full(100, 0.02)))
    found = steady(series)
    assert found["verdict"] == "not_steady"
    assert found["split_half_share"] < -0.3
    first, second, *_ = steady_reasons(found)
    share, bound = found["split_half_share"], found["split_half_bound_share"]
    said = f"second half against first {share:+.1%}, may be as far as {bound:.1%} (limit 5%)"
    assert first == f"not shown to be steady: {said}"
    assert second.startswith("not shown to be steady: drift over the span -")


def test_a_step_change_in_the_middle_is_found():
    assert steady(np.r_[steps(500), steps(500) * 1.1])["verdict"] == "not_steady"


def test_the_smaller_last_batch_of_each_epoch_does_not_disturb():
    images = np.resize([32] * 12 + [3], 104)
    assert module.steady(images * 0.011, images)["verdict"] == "steady"
    assert steady(images * 0.011)["verdict"] == "not_steady"  # what it would be by the step


@pytest.mark.parametrize("n", range(FEWEST))
def test_a_handful_of_steps_shows_nothing(n):
    found = steady(np.full(n, 0.1))
    assert found["verdict"] == "too_short"
    assert steady_reasons(found)


@pytest.mark.parametrize("n", [8, 9, 13, 19, 20, 21, 5000])
def test_a_flat_series_of_any_length_is_steady(n):
    assert steady(np.full(n, 0.1))["verdict"] == "steady"


def test_the_slope_is_a_minute():
    found = steady(np.linspace(0.09, 0.11, 1200))  # 1200 steps of 0.1 s: two minutes
    assert found["slope_share_per_min"] == pytest.approx(found["drift_share"] / 2, rel=1e-6)


def test_students_t_is_students_t():
    """Against the tail of its density, integrated with x = sqrt(freedom) tan(angle), which makes it cos(angle)^..."""
    angles = (np.arange(100_000) + 0.5) / 100_000 * np.pi / 2
    for freedom in range(6, 19):
        density = np.cos(angles) ** (freedom - 1)
        tail = density[angles > np.arctan(student_t(freedom) / np.sqrt(freedom))].sum() / density.sum() / 2
        assert tail == pytest.approx(0.025, rel=2e-3), freedom


def disturbed(share, where, sd=0.005, n=400, seed=0):
    """Steps of 10 ms, slower by `share` where `where` says."""
    place = np.arange(n) / n
    return 0.01 * np.exp(np.random.default_rng(seed).normal(0, sd, n)) * np.where(where(place), 1 + share, 1.0)


@pytest.mark.parametrize(
    "where",
    [lambda x: (x >= 0.25) & (x < 0.75), lambda x: (x < 0.25) | (x >= 0.75), lambda x: np.floor(x * 4) % 2 == 1],
    ids=["the middle half", "both ends", "every other quarter"],
)
def test_a_symmetric_disturbance_is_seen_and_was_not_until_schema_4(where):
    steps, images = disturbed(0.08, where), np.full(400, 32)
    found = module.steady(steps, images)
    assert found["verdict"] == "not_steady"
    assert abs(found["quarters_share"]) == pytest.approx(0.08, abs=0.01)
    assert steady_reasons(found)[-1].startswith("not shown to be steady: quarters that differ ")
    assert steady_reasons({**found, "quarters_bound_share": None}) == steady_reasons(found)[:-1]
    at_limit = {**found, "split_half_bound_share": 0.05, "drift_bound_share": 0.10, "quarters_bound_share": 0.05}
    assert steady_reasons(at_limit) == []
    assert "quarters_share" not in module.steady(steps, images, version=4)


def test_the_rates_own_uncertainty_holds_it_as_often_as_it_says():
    random, held = np.random.default_rng(1), 0
    for _ in range(300):
        steps = 0.01 * np.exp(random.normal(0, 0.05, 200))
        bound = module.steady(steps, np.full(200, 32))["rate_bound_share"]
        held += abs(steps.mean() / 0.01 / np.exp(0.05**2 / 2) - 1) <= bound
    assert held / 300 > 0.91
