import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.records.packing import SHORTEST, pack, packed_tree, ticks, unpack, unpacked_tree

LONG = st.integers(SHORTEST, SHORTEST + 9)


@given(st.data(), LONG)
def test_numbers_come_back_to_the_bit(data, n):
    floats = data.draw(st.lists(st.floats(allow_nan=False), min_size=n, max_size=n))
    ints = data.draw(st.lists(st.integers(-(2**62), 2**62), min_size=n, max_size=n))
    assert unpack(pack(floats)) == floats
    assert unpack(pack(ints)) == ints


def test_not_a_number_survives_and_zero_keeps_its_sign():
    back = unpack(pack([math.nan, -0.0, 1e-30] * 30))
    assert math.isnan(back[0])
    assert math.copysign(1, back[1]) == -1


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (list(range(100)), "int64"),
        (ticks(np.linspace(0, 1, 100) ** 2), "int64"),
        (np.random.default_rng(0).random(100, np.float32).tolist(), "float32"),
        (np.random.default_rng(0).random(100).tolist(), "float64"),
    ],
)
def test_the_smallest_type_that_keeps_every_bit(values, kind):
    assert pack(values)["as"] == kind


def test_a_steady_step_costs_about_two_bytes():
    steps = ticks(0.02 + 2e-4 * np.random.default_rng(0).standard_normal(10_000))
    assert len(pack(steps)["packed"]) / len(steps) < 2.6  # base64 makes 4 of 3


def test_short_lists_mixed_lists_and_texts_stay_as_they_are():
    tree = {"short": [1.0] * (SHORTEST - 1), "mixed": [1.0, None] * 50, "words": ["a"] * 99, "long": [[0.5] * 99]}
    packed = packed_tree(tree)
    assert packed["short"] == tree["short"]
    assert packed["mixed"] == tree["mixed"]
    assert packed["words"] == tree["words"]
    assert packed["long"][0]["n"] == 99
    assert unpacked_tree(packed) == tree
