"""Character i is class i + 1, the blank is class 0."""

import pytest

from models.charset import NAMED, Charset, CharsetError


def test_the_default_alphabet_is_digits_then_letters():
    charset = Charset()
    assert charset.classes == 37
    assert charset.encode("0z") == [1, 36] and charset.decode([1, 0, 36]) == "0z"


def test_texts_are_folded_only_where_the_alphabet_has_no_capitals():
    assert Charset().encode("Az") == Charset().encode("az")
    assert Charset(NAMED["62"]).encode("Az") != Charset(NAMED["62"]).encode("az")


def test_a_text_it_cannot_spell_is_named():
    with pytest.raises(CharsetError, match="'na-ive!' has '!-'"):
        Charset().encode("na-ive!")


@pytest.mark.parametrize("characters", ["", "aba"])
def test_an_alphabet_needs_distinct_characters(characters):
    with pytest.raises(CharsetError, match="distinct"):
        Charset(characters)
