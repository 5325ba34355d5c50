"""Against printed tables and against simulation."""

import math

import numpy as np
import pytest

from bench.judging import statistics as st


@pytest.mark.parametrize(  # Abramowitz and Stegun, table 26.10
    ("p", "df", "t"),
    [(0.975, 1, 12.706), (0.975, 2, 4.303), (0.975, 5, 2.571), (0.995, 4, 4.604), (0.95, 10, 1.812), (0.9, 29, 1.311)],
)
def test_student_as_in_the_tables(p, df, t):
    assert st.t_quantile(p, df) == pytest.approx(t, abs=6e-4)
    assert st.t_cdf(t, df) == pytest.approx(p, abs=1e-4)
    assert st.t_cdf(-t, df) == pytest.approx(1 - p, abs=1e-4)


def test_chi_square_as_in_the_tables():
    assert st.chi_square_quantile(0.10, 5) == pytest.approx(1.610, rel=0.02)
    assert st.chi_square_quantile(0.10, 15) == pytest.approx(8.547, rel=0.01)


@pytest.mark.parametrize("n", [3, 5, 8, 15])
def test_the_interval_holds_the_median_as_often_as_it_says(n):
    random = np.random.default_rng(n)
    held = 0
    for _ in range(600):
        low, high = st.median_interval(np.exp(random.normal(0, 0.05, n)))
        held += low <= 1 <= high
    assert held / 600 > 0.92


def test_one_run_has_no_interval_and_detects_nothing():
    assert st.median_interval([5.0]) is None
    assert st.detectable_change([5.0]) is None


def test_what_a_cell_says_it_detects_it_detects():
    """At the advertised size a t-test between two cells of 5 runs finds the change in about 90 % of trials."""
    random, sd, n = np.random.default_rng(1), 0.01, 5
    factor = st.t_quantile(0.975, 2 * n - 2) + st.t_quantile(0.9, 2 * n - 2)
    size = factor * sd * math.sqrt(2 / n)
    found = [st.t_test(random.normal(0, sd, n), random.normal(size, sd, n)) < 0.05 for _ in range(800)]
    assert 0.87 < np.mean(found) < 0.95


def test_benjamini_and_hochberg_reject_their_own_example():
    """Table 1 of the paper: of 15 p-values, at 5 %, the four smallest."""
    p = [
        0.0001,
        0.0004,
        0.0019,
        0.0095,
        0.0201,
        0.0278,
        0.0298,
        0.0344,
        0.0459,
        0.3240,
        0.4262,
        0.5719,
        0.6528,
        0.7590,
        1.0,
    ]
    assert st.benjamini_hochberg(p, 0.05) == [True] * 4 + [False] * 11


def test_no_spread_at_all():
    assert st.t_test(np.ones(3), np.ones(3)) == 1.0
    assert st.t_test(np.ones(3), np.full(3, 2.0)) == 0.0
