"""Lines drawn from a list of texts: labels of any characters, a face that has them, in LMDBs that training reads."""

from __future__ import annotations

import string

import lmdb
import numpy as np
import pytest
from fontTools.ttLib import TTCollection, TTFont

from bench.errors import UserError
from models import render
from models.data.image import decode
from models.data.opening import open_source
from models.rendering import drawing, find_faces, fonts, lines, warping
from models.rendering.fonts import Face, choose_face, weighted_faces

TEXTS = ["a/b\\c", "Two words_1.", "ÀÉ", "MiXed", "12.50", "x" * 60]
LATO = next(face for face in find_faces() if face.name == "Lato-Regular")
DEJAVU = next(face for face in find_faces() if face.name == "DejaVuSans")


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=[seed, 0]))


def subset(face: Face, characters: str, to) -> str:
    """The face with these characters alone, as a file."""
    with TTFont(face.path) as font:
        for table in font["cmap"].tables:
            table.cmap = {code: name for code, name in table.cmap.items() if chr(code) in characters}
        font.save(to)
    return str(to)


@pytest.fixture(scope="module")
def letters(tmp_path_factory) -> str:
    return subset(LATO, string.ascii_letters + " ", tmp_path_factory.mktemp("a") / "letters.ttf")


@pytest.fixture(scope="module")
def others(tmp_path_factory) -> str:
    printable = set(string.printable) | {"À", "É"}
    return subset(DEJAVU, "".join(printable - set(string.ascii_letters)), tmp_path_factory.mktemp("b") / "others.ttf")


@pytest.fixture(scope="module")
def collection(tmp_path_factory, letters, others) -> str:
    made = TTCollection()
    made.fonts = [TTFont(letters), TTFont(others)]
    path = tmp_path_factory.mktemp("c") / "both.ttc"
    made.save(path)
    return str(path)


def texts_file(folder, texts=TEXTS) -> str:
    (folder / "texts.txt").write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
    return str(folder / "texts.txt")


def made(folder, *options: str):
    render.main(["--texts", texts_file(folder), "--style", "lines", "--count", "30", "--out", str(folder), *options])
    return folder / "lines"


def content(folder) -> dict[bytes, bytes]:
    with lmdb.open(str(folder), readonly=True, lock=False) as environment, environment.begin() as reading:
        return dict(reading.cursor())


def test_labels_are_the_texts_as_they_are_written(tmp_path):
    sample = made(tmp_path, "--workers", "1", "--split", "0.8/0.2/0")
    assert sorted(path.name for path in sample.iterdir()) == ["SAMPLE.json", "dataset.json", "train", "val"]
    labels = set()
    for split, count in (("train", 24), ("val", 6)):
        source = open_source(sample, split)
        assert len(source) == count and source.is_sample and source.name == "lines-sample"
        labels |= {source.label(number) for number in range(count)}
        assert all(decode(source.encoded(number)).shape[0] == 32 for number in range(count))
    assert labels == set(TEXTS)


def test_the_number_of_workers_changes_nothing_and_the_same_again_is_kept(tmp_path, capsys):
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    options = ["--count", "510", "--split", "1/0/0", "--workers"]
    one, two = made(tmp_path / "one", *options, "1"), made(tmp_path / "two", *options, "2")
    assert content(one / "train") == content(two / "train")
    made(tmp_path / "one", *options, "1")
    assert "already there, complete: 510 lines" in capsys.readouterr().out
    with pytest.raises(UserError, match="another sample"):
        made(tmp_path / "one", *options, "1", "--seed", "2")


def test_every_text_gets_a_face_that_has_its_characters(tmp_path, letters, capsys):
    texts = ["word", "12", "two words"]
    options = [
        "--texts",
        texts_file(tmp_path, texts),
        "--out",
        str(tmp_path),
        "--style",
        "lines",
        "--count",
        "9",
        "--split",
        "1/0/0",
    ]
    render.main([*options, "--fonts", f"{letters},{DEJAVU.path}"])
    assert "letters has the characters of 2 of 3 texts and is drawn for those" in capsys.readouterr().out
    with pytest.raises(UserError, match=r"texts\.txt, text 2: none of the 1 faces .* lacks '12'"):
        render.main([*options, "--fonts", letters])


def test_joined_sources_draw_what_the_first_lacks(letters, others):
    (face,) = find_faces(f"{letters}+{others}", "a1É")
    assert face.name == "letters+others" and face.files == [letters, others]
    assert face.of("a") == Face(letters) and face.of("1") == Face(others)
    both = drawing.draw("a1", face)
    assert (drawing.draw("a", Face(letters))[:, :4] > 0).any() and both.shape[1] > drawing.draw("1", face).shape[1]
    with pytest.raises(fonts.FontError, match="lacks '汉'"):
        find_faces(f"{letters}+{others}", "a汉")


def test_a_collection_counts_once_and_a_face_of_it_can_be_named(collection):
    assert [face.index for face in weighted_faces(collection)] == [0]
    (second,) = find_faces(f"{collection}#1", "12")
    assert second.index == 1 and second.name == "both#1"
    with pytest.raises(fonts.FontError, match=r"both\.ttc#2: the collection has the faces 0 to 1"):
        find_faces(f"{collection}#2", "12")


def test_weights_say_how_often_a_face_is_drawn(letters):
    every = weighted_faces(f"{letters}=3,{DEJAVU.path}")
    faces, weights = tuple(every), tuple(every.values())
    chosen = [choose_face("word", faces, weights, rng(seed)).name for seed in range(400)]
    assert 270 < chosen.count("letters") < 330
    assert {choose_face("12", faces, weights, rng(seed)).name for seed in range(9)} == {"DejaVuSans"}
    for wrong in ("0", "-1", "much", "inf"):
        with pytest.raises(fonts.FontError, match="a number above 0"):
            weighted_faces(f"{letters}={wrong}")


def test_in_the_line_s_box_a_comma_stays_small_and_low():
    mask = drawing.draw(",", DEJAVU, box=True)
    assert mask.shape[0] >= drawing.ASCENT and mask.any(axis=1).sum() < mask.shape[0] / 2
    assert not mask[: mask.shape[0] // 2].any()


class TestSigns:
    def test_nothing_stands_at_the_ends_and_nothing_is_cut_there(self, monkeypatch):
        """Else a colon that is gone, or a letter that is there, would be learned against the label."""
        margins = []

        def project(layers, view, height):
            margins.append(view.margins)
            return warping.project(layers, view, height)

        monkeypatch.setattr(lines, "project", project)
        shapes = [lines.signs("Total:", rng(seed), (LATO,)).shape for seed in range(150)]
        assert {height for height, _ in shapes} == {32}
        assert min(min(left, right) for left, _, right, _ in margins) >= 0
        assert lines.NEIGHBOURS[0] == lines.NEIGHBOURS[2] == 0

    def test_a_long_line_is_turned_so_little_that_it_stays_high(self):
        for text in ("Total:", "x" * 40):
            mask = drawing.draw(text, LATO, box=True)
            for seed in range(200):
                turn = lines.view_aside(mask, rng(seed), False).turn
                assert abs(turn) * mask.shape[1] / mask.shape[0] < 0.7


def test_a_vertical_line_is_read_from_the_left_its_characters_on_their_sides(monkeypatch):
    seen = []
    monkeypatch.setattr(lines, "print_line", lambda mask, *_: seen.append(mask))
    lines.vertical("Lx.", rng(), (LATO,))
    upright = drawing.draw("L", LATO, box=True)
    turned = np.rot90(seen[0], -1)  # as it stands on the page
    ink = np.nonzero(turned[: upright.shape[0]].any(axis=0))[0]
    assert np.array_equal(turned[: upright.shape[0], ink.min() : ink.max() + 1], upright[:, upright.any(axis=0)])
    assert seen[0].shape[1] > 2 * seen[0].shape[0]


def test_a_seal_has_a_ring_that_darkens_and_never_lightens():
    page = np.full((32, 200), 220, np.float32)
    sealed = [lines.stamp(page, rng(seed)) for seed in range(40)]
    assert all((one <= page).all() and one.min() >= 220 * 0.5 for one in sealed)
    assert sum((one < page).any() for one in sealed) > 30


@pytest.mark.parametrize("kind", ["print", "page", "photo"])
def test_text_is_apart_from_its_ground(kind):
    pairs = [lines.line_levels(rng(seed), kind) for seed in range(500)]
    assert min(abs(ground - text) for ground, text in pairs) >= 55
    assert all(0 <= level <= 255 for pair in pairs for level in pair)


BAD = {
    "a space at the end": (["fine", "not "], [], "text 2: 'not '"),
    "too long": (["x" * 61], [], "text 1: 'xxx"),
    "a control character": (["a\tb"], [], "cannot be a label"),
    "nothing": ([], [], "no texts"),
    "words besides": (["a"], ["--numbers", "3"], "are for words"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input(name, tmp_path):
    texts, options, said = BAD[name]
    with pytest.raises(UserError, match=said):
        render.main(["--texts", texts_file(tmp_path, texts), "--out", str(tmp_path), *options])
    assert not (tmp_path / "lines").exists()
