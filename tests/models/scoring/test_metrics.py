"""The protocol's arithmetic, checked on cases small enough to do by hand."""

import math
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.judging.statistics import wilson_interval as wilson
from models.scoring.metrics import MODES, breakdown, by_length, confusions, read_right, score, worst


def test_modes_differ_by_case_and_punctuation():
    truths, texts = ["Hello", "don't", "ok"], ["hello", "dont", "ok"]
    s = score(truths, texts)
    assert (s.exact_accuracy, s.ignore_case_accuracy, s.word_accuracy) == pytest.approx((1 / 3, 2 / 3, 1.0))
    assert score(truths, texts, "exact").word_accuracy == pytest.approx(1 / 3)


def test_chinese_characters_count_as_alphanumeric():
    assert score(["你好,世界"], ["你好世界"]).word_accuracy == 1
    assert score(["你好"], ["你们"]).word_accuracy == 0


def test_one_minus_ned_divides_by_the_longer_text():
    # kitten -> sitting: 3 edits, longest 7; "xy" against "": 2 / 2; equal: 0
    s = score(["kitten", "xy", "same"], ["sitting", "", "same"])
    assert s.one_minus_ned == pytest.approx(((1 - 3 / 7) + 0 + 1) / 3)
    assert s.cer == pytest.approx((3 + 2 + 0) / (6 + 2 + 4))


def test_the_tensorflow_systems_own_numbers():
    s = score(["abcd", "xy"], ["abdd", "y"])  # 3 of 4 in place, 0 of 2; 1/4 and 1/2 edits
    assert s.character_precision == pytest.approx((3 / 4 + 0) / 2)
    assert s.sequence_distance == pytest.approx((1 / 4 + 1 / 2) / 2)


@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize("mode", ["exact", "ignore_case", "alphanumeric"])
@pytest.mark.parametrize("truth", ["caf\u00e9", "Ti\u1ebfng", "\ud55c\uad6d"])
def test_a_decomposed_text_is_the_composed_one(truth, mode, form):
    """macOS names files in NFD, Vietnamese and Korean keyboards write it."""
    s = score([unicodedata.normalize(form, truth)], [truth], mode)
    assert (s.correct, s.cer) == (1, 0)
    assert confusions([unicodedata.normalize(form, truth)], [truth], mode) == {}


@pytest.mark.parametrize(
    ("truth", "read"),
    [
        ("\u0915\u093f", "\u0915\u0940"),  # Devanagari ki and kii: another vowel sign
        ("\u0e01\u0e48", "\u0e01\u0e49"),  # Thai, another tone
        ("\u0b95\u0bbe", "\u0b95"),  # Tamil kaa and ka
        ("\u0645\u064f", "\u0645\u0650"),  # Arabic mu and mi
    ],
    ids=["Hindi", "Thai", "Tamil", "Arabic"],
)
def test_a_wrong_vowel_or_tone_is_a_mistake_in_every_mode(truth, read):
    assert [score([truth], [read], mode).correct for mode in MODES] == [0, 0, 0]
    assert [score([truth], [truth], mode).correct for mode in MODES] == [1, 1, 1]


def test_the_turkish_capital_with_a_dot_is_an_i():
    assert score(["\u0130zmir"], ["izmir"]).correct == 1


def test_truths_of_which_the_mode_leaves_nothing_are_counted_apart():
    s = score(["---", "!!!", "ab", ""], ["", "x", "ab", ""])
    assert (s.n, s.left_out, s.correct, s.cer) == (1, 3, 1, 0)
    assert by_length(["---", "ab"], ["", "ab"]).keys() == {2} and worst(["---"], ["zz"], [0.5]) == []
    exact = score(["---", "!!!"], ["---", "!"], "exact")
    assert (exact.n, exact.left_out, exact.correct) == (2, 0, 1)


def test_no_readings_have_no_accuracy():
    s = score([], [])
    assert s.n == 0 and math.isnan(s.word_accuracy) and math.isnan(s.cer) and s.interval == (0, 1)


def test_unequal_numbers_and_unknown_modes_are_refused():
    with pytest.raises(ValueError, match="2 truths but 1 texts"):
        score(["a", "b"], ["a"])
    with pytest.raises(ValueError, match="exact, ignore_case, alphanumeric"):
        score([], [], "loose")


def test_wilson_gives_the_published_interval():
    # Newcombe (1998), Statistics in Medicine 17:857, table I, method 3: 81 of 263 and 0 of 20
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=1e-4)


@given(st.integers(1, 10_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_encloses_the_share(case):
    correct, n = case
    low, high = wilson(correct, n)
    assert 0 <= low <= correct / n <= high <= 1


@pytest.mark.parametrize("n", [4, 10, 200, 600])
def test_wilson_encloses_a_share_of_1(n):
    """Rounding once put the upper end below it, and bench.verify refused the record of a perfect test."""
    assert wilson(n, n)[1] == 1


def test_groups_are_scored_apart():
    groups = breakdown(["svt", "iiit", "iiit", "iiit"], ["a", "b", "c", "d"], ["a", "b", "x", "x"])
    assert list(groups) == ["svt", "iiit"]
    assert groups["iiit"].word_accuracy == pytest.approx(1 / 3)


def test_lengths_are_counted_as_the_mode_counts_them():
    lengths = by_length(["it's", "its", "a"], ["its", "it", "a"])
    assert {k: (s.n, s.word_accuracy) for k, s in lengths.items()} == {1: (1, 1.0), 3: (2, 0.5)}


def test_confusions_name_what_was_written_and_read():
    found = confusions(["l0se", "ab", "a", "same"], ["lOse", "b", "ab", "same"])
    assert found == {("0", "O"): 1, ("a", ""): 1, ("", "b"): 1}


def test_worst_mistakes_come_first():
    assert worst(["abc", "abc", "abc", "abc"], ["abc", "xyz", "abx", "abx"], [1, 0.1, 0.2, 0.9]) == [1, 3, 2]


def test_a_score_says_its_mode_and_its_interval():
    s = score(["a", "B", "c"], ["a", "b", "x"], "ignore_case")
    assert (s.n, s.mode, s.correct) == (3, "ignore_case", 2)
    assert s.interval == wilson(2, 3)


def test_capitals_that_have_no_single_small_letter_are_compared_in_lower_case():
    assert score(["STRASSE"], ["stra\u00dfe"]).word_accuracy == 0  # upper case would make them equal


def test_places_are_counted_from_the_left_and_a_text_of_one_letter_is_a_text():
    s = score(["abc", "a"], ["abx", "b"])
    assert s.character_precision == pytest.approx((2 / 3 + 0) / 2)
    assert s.sequence_distance == pytest.approx((1 / 3 + 1) / 2)
    assert score(["ab"], ["a"]).character_precision == pytest.approx(1 / 2)


def test_groups_are_scored_in_the_mode_that_is_asked_for():
    assert breakdown(["x"], ["A"], ["a"], "exact")["x"].mode == "exact"
    assert by_length(["A"], ["a"], "exact")[1].word_accuracy == 0


def test_confusions_are_counted():
    assert confusions(["00", "0"], ["OO", "O"]) == {("0", "O"): 3}


def test_texts_without_their_truths_are_refused():
    for measure in (confusions, lambda truths, texts: worst(truths, texts, [1, 1])):
        with pytest.raises(ValueError, match="zip"):
            measure(["a"], ["a", "b"])


def test_which_words_are_right_adds_up_to_how_many():
    truths, texts = ["Abc", "d-e", "f"], ["abc", "de", "g"]
    for mode, right in (("exact", [0, 0, 0]), ("ignore_case", [1, 0, 0]), ("alphanumeric", [1, 1, 0])):
        assert read_right(truths, texts, mode) == right
        assert sum(right) == score(truths, texts, mode).correct
