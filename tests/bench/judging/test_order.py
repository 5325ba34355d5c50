"""The order of a session's runs: random, balanced, and in step with no load of any period."""

from itertools import pairwise

import numpy as np

from bench.judging.order import candidate_first, follows_waves, order_pool, run_order
from bench.judging.policy import LOOKS, MORE


def test_orders_are_balanced_at_every_look_differ_and_follow_no_wave():
    pool = order_pool()
    assert len({tuple(order) for order in pool.tolist()}) > 100
    for look in LOOKS:
        assert (pool[:, :look].sum(axis=1) * 2 == look).all()
        assert follows_waves(2.0 * pool[:, :look] - 1).max() < 0.85  # AB BA AB BA: 1.0
    assert follows_waves(np.array([[1.0, -1] * 8])).max() > 0.99


def test_an_order_goes_on_where_it_stopped_and_is_the_same_again():
    whole = run_order(0, 16, seed=7)
    assert [*run_order(0, 6, 7), *run_order(6, 4, 7), *run_order(10, 6, 7)] == whole
    assert run_order(16, 16, 7)[0][0] == 16
    assert run_order(0, 16, seed=8) != whole
    assert sorted(whole) == sorted((pair, side) for pair in range(16) for side in ("base", "candidate"))


def test_further_looks_are_balanced_each_and_drawn_anew():
    sides = ("base", "candidate")
    for first in (LOOKS[-1], LOOKS[-1] + MORE):
        order = run_order(first, MORE, 7)
        assert sorted(order) == sorted((pair, side) for pair in range(first, first + MORE) for side in sides)
        assert sum(side == "candidate" for _, side in order[::2]) == MORE / 2
    flips = [[side for _, side in run_order(first, MORE, 7)] for first in (LOOKS[-1], LOOKS[-1] + MORE)]
    assert flips[0] != flips[1]
    assert run_order(LOOKS[-1] + 4, 3, 7) == run_order(LOOKS[-1], MORE, 7)[8:14]


def test_the_order_of_a_session_is_balanced_at_each_of_its_looks():
    for seed in range(20):
        first = [side for _, side in run_order(0, LOOKS[-1], seed)[::2]]
        assert [first[:look].count("base") * 2 for look in LOOKS] == list(LOOKS)


def test_a_pair_is_two_neighbouring_runs():
    order = run_order(0, LOOKS[-1], 3)
    assert [pair for pair, _ in order] == [pair for pair in range(LOOKS[-1]) for _ in range(2)]
    assert all(one != other for (_, one), (_, other) in list(pairwise(order))[::2])


def test_how_well_an_order_follows_a_wave_by_hand():
    """A constant follows the wave of frequency near 0; (1, -1) repeated that of period 2; nothing exceeds 1."""
    constant, turns, doubled = np.ones(8), np.resize([1.0, -1], 8), np.resize([1.0, 1, -1, -1], 8)
    found = follows_waves(np.stack([constant, turns, doubled]))
    assert (found <= 1 + 1e-9).all()
    assert found[0] > 0.95
    assert found[1] > 0.99
    assert found[2] > 0.95  # period 4


def test_sessions_draw_orders_of_their_own_from_the_pool():
    drawn = candidate_first(np.random.default_rng(1), 50)
    assert drawn.shape == (50, LOOKS[-1])
    assert len({tuple(row) for row in drawn.tolist()}) > 40
    assert {tuple(row) for row in drawn.tolist()} <= {tuple(row) for row in order_pool().tolist()}
