"""Labels that CTC cannot learn: found by looking at many at once, exactly those that a look at each finds."""

import lmdb
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.data import label_filter
from models.data.charset import NAMED, Charset
from models.data.files import DataError
from models.data.label_filter import find_label_issues, label_issue, steps_needed
from models.data.opening import open_source
from models.data.source import Source
from tests.support.data_samples import make_store, make_tree


class Made(Source):
    """A source of labels alone."""

    def __init__(self, texts):
        self.texts_made = texts

    def __len__(self):
        return len(self.texts_made)

    def label(self, index):
        return self.texts_made[index]

    def where(self, index):
        return f"row {index}"


def test_a_blank_is_needed_between_equal_neighbours_whatever_their_case():
    assert [steps_needed(t) for t in ("", "a", "ab", "aa", "aab", "committee")] == [0, 1, 2, 3, 4, 12]
    assert label_issue("oO", Charset(), 2) == "long" and label_issue("oO", Charset(NAMED["62"]), 2) is None


@settings(max_examples=200, deadline=None)
@given(st.lists(st.text("abAB-é", max_size=6), max_size=30), st.integers(1, 8), st.sampled_from(["36", "62"]))
def test_looking_at_many_finds_what_looking_at_each_finds(texts, time_steps, name):
    charset = Charset.named(name)
    found = find_label_issues(Made(texts), charset, time_steps)
    kinds = [label_issue(text, charset, time_steps) for text in texts]
    assert {k: v for k, v in found.found.items() if v} == {
        k: [i for i, kind in enumerate(kinds) if kind == k] for k in set(kinds) - {None}
    }
    assert found.indices.tolist() == [i for i, kind in enumerate(kinds) if kind]


@pytest.mark.parametrize("chunk", [1, 3, 100])
def test_labels_come_in_bulk_from_every_source(tmp_path, monkeypatch, chunk):
    monkeypatch.setattr(label_filter, "CHUNK", chunk)
    words = ["fine", "", "aa", "b", "x-y"]
    make_tree(tmp_path / "raw", ["fine", "aa", "b"])
    assert find_label_issues(open_source(make_store(tmp_path / "lmdb", words), "train"), Charset(), 3).found == {
        "empty": [1], "out_of_charset": [4], "long": [0], "broken": [],
    }  # fmt: skip
    assert find_label_issues(open_source(tmp_path / "raw", "train"), Charset(), 2).found["long"] == [0, 1]


def test_a_label_that_is_not_utf8_is_broken_not_a_crash(tmp_path):
    found = find_label_issues(open_source(make_store(tmp_path, ["ok", b"\xff\xfe"]), "train"), Charset(), 9)
    assert found.found["broken"] == [1] and "not UTF-8" in str(found)


@pytest.mark.parametrize("missing", [1, 2])
def test_a_label_that_is_missing_is_broken_and_moves_no_other(tmp_path, missing):
    source = open_source(without_label(make_store(tmp_path, ["a", "b", "c"]), missing), "train")
    for begin in range(missing):
        with pytest.raises(DataError, match="is missing"):
            source.texts(begin, 3)
    assert source.texts(missing, 3) == ["a", "b", "c"][missing:]
    found = find_label_issues(source, Charset(), 9).found
    assert found == {"empty": [], "out_of_charset": [], "long": [], "broken": [missing - 1]}


def without_label(folder, number):
    with lmdb.open(str(folder)) as environment, environment.begin(write=True) as writing:
        assert writing.delete(b"label-%09d" % number)
    return folder


def test_the_sum_of_a_large_set_is_one_line():
    found = find_label_issues(Made(["-", ""] * 1000), Charset(), 9)
    assert "1,000 empty labels" in str(found) and "\n" not in str(found)
    assert found.indices.dtype == np.uint32 and len(found) == 2000


def test_every_picture_may_have_its_own_time_steps():
    found = find_label_issues(Made(["abc", "abc", "aa"]), Charset(), np.array([3, 2, 3]))
    assert found.found["long"] == [1] and "2 to 3 time steps" in str(found)
