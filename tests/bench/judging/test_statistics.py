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
    assert st.benjamini_hochberg(p, 0.05).tolist() == [True] * 4 + [False] * 11


def test_no_spread_at_all():
    assert st.t_test(np.ones(3), np.ones(3)) == 1.0
    assert st.t_test(np.ones(3), np.full(3, 2.0)) == 0.0


@pytest.mark.parametrize(  # printed tables of the median's interval: 1-based ranks r + 1 and n - r
    ("n", "rank"),
    [(2, None), (5, None), (6, 0), (8, 0), (9, 1), (10, 1), (11, 1), (12, 2), (15, 3), (20, 5), (30, 9), (100, 39)],
)
def test_order_statistics_as_in_the_tables(n, rank):
    assert st.order_statistic(n, 0.95) == rank


def test_from_six_values_on_the_interval_is_of_values_themselves():
    values = [7.0, 1.0, 5.0, 3.0, 9.0, 11.0, 13.0, 15.0, 17.0]
    assert st.median_interval(values) == (3.0, 15.0)
    low, high = st.median_interval([1.0, math.e])  # by t: log-mean 0.5, half 12.706 x 0.7071 / sqrt(2)
    assert (math.log(low), math.log(high)) == (
        pytest.approx(0.5 - 6.353, abs=1e-3),
        pytest.approx(0.5 + 6.353, abs=1e-3),
    )


def test_the_detectable_change_by_hand():
    """Logs 0, 0.02: sd 0.014142; t(0.975, 2) + t(0.9, 2) = 4.303 + 1.886, times sd x sqrt(2 / 2)."""
    assert st.detectable_change([1.0, math.exp(0.02)]) == pytest.approx(math.expm1(6.189 * 0.0141421), rel=1e-3)
    of_three = st.detectable_change([1.0, math.exp(0.02), math.exp(0.04)])  # sd 0.02; t(4): 2.776 + 1.533; sqrt(2/3)
    assert of_three == pytest.approx(math.expm1(4.309 * 0.02 * math.sqrt(2 / 3)), rel=1e-3)
    assert st.log_sd([1.0, math.exp(0.02), math.exp(0.04)]) == pytest.approx(0.02)


def test_a_bound_of_a_standard_deviation_by_hand():
    """chi-square(0.10, 5) = 1.610: sd x sqrt(5 / 1.610)."""
    assert st.sd_upper_bound(2.0, 5) == pytest.approx(2 * math.sqrt(5 / 1.610), rel=0.01)
    assert st.sd_upper_bound(2.0, 15, 0.95) == pytest.approx(2 * math.sqrt(15 / 7.261), rel=0.01)


def test_students_test_by_hand():
    """Means 2 and 4, pooled variance 1 on 4 degrees: t = 2 / sqrt(2 / 3) = 2.449, p = 0.0705."""
    assert st.t_test(np.array([1.0, 2.0, 3.0]), np.array([3.0, 4.0, 5.0])) == pytest.approx(0.0705, abs=2e-4)
    unequal = st.t_test(np.array([1.0, 2.0, 3.0]), np.array([3.0, 5.0]))  # pooled (2 + 2) / 3, t = 1.897 on 3
    assert unequal == pytest.approx(0.154, abs=1e-3)
    assert st.t_test(np.array([1.0]), np.array([2.0, 3.0])) == 1.0


def test_benjamini_and_hochberg_let_a_small_p_carry_a_larger_one():
    assert st.benjamini_hochberg([0.04, 0.01], 0.04).tolist() == [True, True]
    assert st.benjamini_hochberg([0.05, 0.01], 0.04).tolist() == [False, True]
    assert st.benjamini_hochberg([0.03, 0.03], 0.04).tolist() == [True, True]


def test_benjamini_and_hochberg_judge_each_session_alone():
    p = [[0.04, 0.01], [0.05, 0.01], [0.9, 0.8]]
    assert st.benjamini_hochberg(np.array(p), 0.04).tolist() == [[True, True], [False, True], [False, False]]


def test_mcnemar_as_in_tables_of_the_binomial():
    """P(X >= k) of 10 throws of a coin: 1/1024, 11/1024, 56/1024."""
    assert [st.mcnemar_p(lost, 10 - lost) * 1024 for lost in (10, 9, 8)] == [1, 11, 56]
    assert st.mcnemar_p(1, 0) == 0.5
    assert st.mcnemar_p(0, 0) == 1.0


def test_many_quantiles_at_once_are_those_of_one():
    values = np.linspace(-5, 5, 11)
    for df in (1, 2, 5, 15):
        assert st.t_cdfs(values, df) == pytest.approx([st.t_cdf(float(v), df) for v in values])


def test_wilsons_interval_by_hand():
    """8 of 10 at z = 1: middle 0.85 / 1.1, half sqrt(0.1 x (0.16 + 0.025)) / 1.1."""
    assert st.wilson_interval(8, 10) == (pytest.approx(0.490162, abs=1e-5), pytest.approx(0.943318, abs=1e-5))
    assert st.wilson_interval(8, 10, 1.0) == (pytest.approx(0.649082, abs=1e-5), pytest.approx(0.896373, abs=1e-5))
    assert st.wilson_interval(0, 0) == (0.0, 1.0)
    assert st.wilson_interval(0, 10) == (0.0, pytest.approx(0.277533, abs=1e-5))
    low, high = st.wilson_interval(600, 600)
    assert (low, high) == (pytest.approx(0.993638, abs=1e-5), 1.0)
