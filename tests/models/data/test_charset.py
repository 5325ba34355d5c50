"""Character i is class i + 1, the blank is class 0."""

import string

import numpy as np
import pytest

from models.data.charset import NAMED, Charset, CharsetError


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
