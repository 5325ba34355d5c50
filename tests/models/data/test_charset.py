"""Character i is class i + 1, the blank is class 0."""

import json
import string
import unicodedata

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.data.charset import NAMED, Charset, CharsetError
from models.data.text import clean_label, is_mark, visual_order


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


def test_a_repeated_character_is_read_by_both_classes_and_spelled_with_the_first():
    charset = Charset("aba")
    assert charset.classes == 4 and charset.decode([1, 2, 3]) == "aba"
    assert charset.encode("aba") == [1, 2, 1] and charset.repeated == "a"
    assert charset.encode_all(["ab", "a"])[0].tolist() == [1, 2, 1]


def written(path, content, encoding="utf-8"):
    path.write_bytes(content.encode(encoding))
    return path


@pytest.mark.parametrize(
    "content, characters",
    [
        ("a\nb\n#\n \nz", "ab# z"),
        ("ab# z\n", "ab# z"),
        ("\ufeffa\r\nb\r\n", "ab"),
        ("blank\na\nb\n", "ab"),
        ("e\u0301\nx\n", "\u00e9x"),  # a letter and its accent become the one character that labels are brought to
    ],
)
def test_a_file_lists_one_character_a_line_or_all_on_one(tmp_path, content, characters):
    assert Charset.named(str(written(tmp_path / "chars.txt", content))).characters == characters


def test_a_chinese_charset_is_read_as_utf8_and_as_gbk(tmp_path):
    many = "".join(chr(0x4E00 + i) for i in range(5989))
    content = "blank\n" + "\n".join(many)
    for encoding in ("utf-8", "utf-8-sig", "gb18030"):
        charset = Charset.named(str(written(tmp_path / encoding, content, encoding)))
        assert charset.classes == 5990 and charset.characters == many
    assert charset.decode(charset.encode("\u4e2d\u4e01")) == "\u4e2d\u4e01"


def test_the_chinese_alphabet_spells_cheques_and_has_a_space():
    charset = Charset.named("chinese")
    assert charset.classes == 6014 and charset.characters.startswith("\uff0c的") and charset.characters.endswith("←↑ ")
    for text in (string.printable[:95], "壹贰叁肆伍陆柒捌玖拾佰仟萬圆整"):
        assert charset.decode(charset.encode(text)) == text


@pytest.mark.parametrize("content", ["a\nbc\n", ""])
def test_a_file_that_is_no_alphabet_is_refused(tmp_path, content):
    with pytest.raises(CharsetError, match=r"more than one character|it is empty"):
        Charset.named(str(written(tmp_path / "chars.txt", content)))


def test_rubbish_and_unknown_names_are_refused(tmp_path):
    (tmp_path / "rubbish").write_bytes(b"\xff\xff\x81")
    with pytest.raises(CharsetError, match="neither UTF-8 nor GB18030"):
        Charset.named(str(tmp_path / "rubbish"))
    with pytest.raises(CharsetError, match="no charset '37': it is 36, 62, 94, chinese or a file"):
        Charset.named("37")


def test_an_alphabet_built_from_labels_does_not_depend_on_their_order(tmp_path):
    built = Charset.of(["b a", "#z"])
    assert built == Charset.of(["#z", "b a"]) and built.characters == " #abz"
    built.save(tmp_path / "chars.txt")
    assert Charset.named(str(tmp_path / "chars.txt")) == built


def test_the_charsets_by_name_have_36_62_and_94_characters():
    assert [Charset.named(n).classes - 1 for n in ("36", "62", "94")] == [36, 62, 94]


def test_foreign_characters_can_be_stripped():
    assert Charset().remove_out_of_charset("Na-ive!") == "naive" and Charset().out_of_charset("Na-ive!") == "!-"


def test_what_is_wrong_with_an_alphabet_is_said():
    with pytest.raises(CharsetError, match=r"; it is empty$"):
        Charset("")


def test_the_line_that_is_no_character_is_numbered(tmp_path):
    with pytest.raises(CharsetError, match=r"line 2: 'bc' is more than one character"):
        Charset.named(str(written(tmp_path / "chars.txt", "a\nbc\n")))


@pytest.mark.parametrize(
    "texts", [["ab", "", "Ba1"], ["b\u00e9", "", "e\u0301a"], []], ids=["ASCII", "accents", "none"]
)
def test_a_batch_is_spelled_as_its_texts_are_one_by_one(texts):
    charset = Charset("ab1\u00e9")
    classes, lengths = charset.encode_all(texts)
    assert classes.dtype == lengths.dtype == np.int32
    assert classes.tolist() == [c for text in texts for c in charset.encode(text)]
    assert lengths.tolist() == [len(charset.encode(text)) for text in texts]


@pytest.mark.parametrize("text", ["a!", "\u00e9"])
def test_of_a_batch_the_text_that_cannot_be_spelled_is_named(text):
    with pytest.raises(CharsetError, match=f"label '{text}' has"):
        Charset("ab").encode_all(["a", text, "b"])


def test_an_alphabet_is_saved_as_utf8(tmp_path):
    Charset("a\u4e2d").save(tmp_path / "chars.txt")
    assert (tmp_path / "chars.txt").read_bytes() == "a\n\u4e2d\n".encode()


LABELS = st.lists(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n"), max_size=12), max_size=6)


@given(LABELS)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_the_alphabet_of_any_labels_reads_back_and_spells_them(tmp_path, texts):
    texts = [text for text in map(clean_label, texts) if text]
    if not texts:
        return
    Charset.of(texts).save(tmp_path / "chars.txt")
    back = Charset.named(str(tmp_path / "chars.txt"))
    assert back == Charset.of(texts)
    for text in texts:
        assert back.decode(back.encode(text)) == back.normalise(text)
        assert back.encode(unicodedata.normalize("NFD", text)) == back.encode(text)


def test_a_line_break_has_no_place_in_an_alphabets_file(tmp_path):
    with pytest.raises(CharsetError, match="a line break cannot be in an alphabet's file"):
        Charset.of(["a\nb"]).save(tmp_path / "chars.txt")


@pytest.mark.parametrize(
    ("content", "characters", "spelled"),
    [
        ("\u51c9\n\u5de5\n\uf979\n", "\u51c9\u5de5\uf979", {"\uf979\u51c9": [1, 1]}),  # MMOCR's Chinese: one in NFC
        ("K\n\u212b\n\u00c5\n", "K\u212b\u00c5", {"\u00c5": [3], "A\u030a": [3]}),  # Angstrom and A with ring
        (
            "\u0915\n\u0958\n",
            "\u0915\u0958",
            {"\u0958": [2], "\u0915\u093c\u0915": [2, 1]},
        ),  # EasyOCR's Hindi: two in NFC
        # EasyOCR's Bengali: sequences, blanks at ends, a mark on a dotted circle
        ("\u0995 \n\u09b7\n\u25cc\u09c1\n\u0995\u09cd\u09b7\n", "\u0995\u09b7\u09c1\u09cd", {"\u0995\u09c1": [1, 3]}),
        ("0\na\n \n", "0a ", {"a 0": [2, 3, 1]}),  # PaddleOCR's en_dict.txt ends in a space
        (" \n!\n\u0e01\n\u0e48", " !\u0e01\u0e48", {"\u0e01\u0e48 ": [3, 4, 1]}),  # MMOCR's th_char.txt begins with one
    ],
    ids=["compatibility", "singletons", "exclusions", "sequences", "last space", "first space"],
)
def test_each_line_of_a_peers_dictionary_is_a_class_by_itself(tmp_path, content, characters, spelled):
    charset = Charset.named(str(written(tmp_path / "dict.txt", content)))
    assert charset.characters == characters
    assert {text: charset.encode(text) for text in spelled} == spelled


def test_crnn_tensorflows_map_is_an_alphabet_in_its_order(tmp_path):
    """data/char_dict/ord_map_en.json there: a code point for each index, and an index for each code point."""
    order = "6xvzwqj4d7"
    entries = {f"{i}_index": str(ord(c)) for i, c in enumerate(order)} | {
        f"{ord(c)}_ord": str(i) for i, c in enumerate(order)
    }
    written(tmp_path / "ord_map.json", json.dumps(entries))
    assert Charset.named(str(tmp_path / "ord_map.json")).characters == order
    # its older versions: index_2_ord_map.json and ord_2_index_map.json, in no order
    maps = [{str(i): str(ord(order[i])) for i in (7, 0, 3, 1, 2, 9, 8, 4, 5, 6)}]
    maps.append({code: index for index, code in maps[0].items()})
    for older in maps:
        written(tmp_path / "older.json", json.dumps(older))
        assert Charset.named(str(tmp_path / "older.json")).characters == order
    for wrong in (
        {"100_ord": "d"},
        {"100": "d"},
        {"100": "3"},
        {"0_index": "54", "2_index": "55"},
        {"0_index": "x"},
        [],
    ):
        written(tmp_path / "wrong.json", json.dumps(wrong))
        with pytest.raises(CharsetError, match="no alphabet: CRNN_Tensorflow's ord_map"):
            Charset.named(str(tmp_path / "wrong.json"))


@pytest.mark.parametrize("content", [" \na\nb\na\n", "blank\na\nb\na\n", "a\nb\na\n"], ids=["a space", "blank", "none"])
def test_codes_are_lines_and_the_first_may_be_the_blanks(tmp_path, content):
    codes = Charset.of_codes(written(tmp_path / "codes.txt", content))
    assert codes.decode([1, 2, 3]) == "aba" and codes.encode("a") == [1]


HEBREW = "\u05e9\u05dc\u05d5\u05dd"


@pytest.mark.parametrize(
    ("typed", "seen"),
    [
        (HEBREW, HEBREW[::-1]),
        (f"{HEBREW} 12/5", f"12/5 {HEBREW[::-1]}"),  # numbers run to the right
        (f"({HEBREW})", f"({HEBREW[::-1]})"),  # brackets are mirrored
        ("\u0645\u064e\u0631", "\u0631\u0645\u064e"),  # a mark stays with its letter
        ("New York 12", "New York 12"),
    ],
)
def test_what_is_typed_from_right_to_left_is_spelled_as_it_is_seen(typed, seen):
    assert visual_order(typed) == seen and visual_order(seen) == typed
    plain = Charset.of([typed])
    turned = Charset(plain.characters, right_to_left=True)
    assert turned.encode(typed) == plain.encode(seen) and turned.decode(turned.encode(typed)) == typed
    assert turned.encode_all([typed, typed])[0].tolist() == plain.encode(seen) * 2


@given(st.text(st.sampled_from("\u05d0\u05d1\u0645\u064eab1 (/)"), max_size=12))
def test_turning_twice_changes_nothing(text):
    if not is_mark(text[:1] or "a"):  # which would go on the letter that comes to stand before it
        assert visual_order(visual_order(text)) == text
