"""Accuracy as counts of the same words on both sides."""

import math

import numpy as np
import pytest

from bench.judging.policy import TOLERANCES
from bench.judging.words import MANY, accuracy_evidence, sampling_variance, word_changes

POINTS = TOLERANCES["accuracy"]


def test_changes_of_words_are_means_over_the_pairs():
    found = word_changes([[1, 1, 0, 0], [1, 1, 0, 0]], [[1, 0, 1, 0], [1, 0, 0, 0]])
    assert found.tolist() == [0.0, -1.0, 0.5, 0.0]


@pytest.mark.parametrize(
    ("base", "new"),
    [([], []), ([[1]], []), ([[1, 0]], [[1]]), ([[]], [[]]), ([[1], [1, 0]], [[1], [1]]), ([[1]], [[1], [1]])],
)
def test_words_that_are_not_known_on_both_sides_say_nothing(base, new):
    assert word_changes(base, new) is None


def test_the_variance_of_a_share_by_hand():
    """Of four words one lost: variance of (-1, 0, 0, 0) is 3/16, over 4 words. Unknown: the least, 1/4 - 1/16."""
    words = np.array([-1.0, 0.0, 0.0, 0.0])
    assert sampling_variance(np.array([-0.25]), words, 4) == pytest.approx(3 / 64)
    assert sampling_variance(np.array([-0.25, -0.25]), None, 4) == pytest.approx((0.25 - 0.0625) / 4)
    assert sampling_variance(np.array([-0.25]), None, 0) == 0.0
    assert sampling_variance(np.array([0.0]), None, 98) == 0.0


def evidence(lost: int, gained: int, n: int = 100, pairs: int = 6):
    words = np.array([-1.0] * lost + [1.0] * gained + [0.0] * (n - lost - gained))
    return accuracy_evidence("cell", "accuracy", np.full(pairs, (gained - lost) / n), words, n, POINTS)


def test_equal_pairs_are_judged_by_mcnemar():
    found = evidence(lost=9, gained=1)
    assert found.p_worse == pytest.approx(11 / 1024)
    assert (found.df, found.n, found.metric, found.cell) == (MANY, 6, "accuracy", "cell")
    assert found.tolerance == POINTS
    assert found.estimate == pytest.approx(-0.08)
    assert found.error == pytest.approx(math.sqrt((0.1 - 0.08**2) / 100))
    assert found.said == "of 100 words 9 lost, 1 gained"
    words = np.array([-1.0, 0.5, 0.5, *[0.0] * 97])  # read in every other run
    assert accuracy_evidence("c", "m", np.zeros(6), words, 100, POINTS).said == "of 100 words 1 lost, 1 gained"
    assert evidence(0, 0).said == "the same words are read"
    assert evidence(0, 3).said == "of 100 words 0 lost, 3 gained"
    assert evidence(3, 0).said == "of 100 words 3 lost, 0 gained"


def test_pairs_that_differ_add_their_own_variance():
    """Changes 0 and -0.02: error of the mean 0.01; of words 0.0001 x (1 - ...): degrees by Welch and Satterthwaite."""
    changes, words = np.array([0.0, -0.02]), np.array([-1.0] + [0.0] * 99)
    found = accuracy_evidence("cell", "accuracy", changes, words, 100, POINTS)
    sampling, between = (0.01 - 0.0001) / 100, 0.01**2
    assert found.error == pytest.approx(math.sqrt(sampling + between))
    assert found.df == int((sampling + between) ** 2 / (between**2 / 1)) == 3
    assert (found.p_exact, found.said) == (None, "")
    changes = np.array([0.0, -0.02, -0.04, -0.02])
    found = accuracy_evidence("cell", "accuracy", changes, words, 100, POINTS)
    between = float(changes.var(ddof=1)) / 4
    assert found.df == int((sampling + between) ** 2 / (between**2 / 3)) > 3


def test_one_pair_without_words_has_the_least_error_that_is_possible():
    found = accuracy_evidence("cell", "accuracy", np.array([-0.1]), None, 90, POINTS)
    assert found.error == pytest.approx(math.sqrt((0.1 - 0.01) / 90))
    assert (found.p_exact, found.df, found.said) == (None, MANY, "")


def test_the_degrees_of_freedom_stay_between_one_and_many():
    words = np.zeros(10)
    wild = accuracy_evidence("c", "accuracy", np.array([-0.4, 0.4]), words, 10, POINTS)
    assert wild.df == 1
    calm = accuracy_evidence("c", "accuracy", np.array([0.1, 0.1001]), np.resize([1.0, -1.0], 10), 10, POINTS)
    assert calm.df == MANY
