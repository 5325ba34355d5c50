"""The style `street`: what lies around a word is drawn, and the label stays the word."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from models import render
from models.rendering import street
from models.rendering.fonts import find_faces
from models.rendering.styles import STYLES
from models.rendering.warping import View, project

FACES = find_faces()
LEFT, TOP, RIGHT, BOTTOM = range(4)


def rng(seed=0):
    return np.random.default_rng(seed)


class TestMarks:
    def test_a_word_keeps_its_letters_in_order(self):
        for seed in range(300):
            assert "".join(filter(str.isalnum, street.add_marks("moniker", rng(seed)))) == "moniker"

    def test_about_a_quarter_is_marked_numbers_as_prices_are(self):
        marked = [street.add_marks("1905", rng(seed)) for seed in range(400)]
        assert 60 < sum(text != "1905" for text in marked) < 140
        assert any(text.startswith("$") for text in marked)
        assert not any('"' in text for text in marked)

    def test_a_face_must_be_able_to_draw_every_mark(self):
        drawn = {c for seed in range(3000) for word in ("abcdef", "1905") for c in street.add_marks(word, rng(seed))}
        assert {c for c in drawn if not c.isalnum()} == street.MARKS == STYLES["street"].marks


class TestNeighbours:
    @pytest.mark.parametrize("side", [LEFT, TOP, RIGHT, BOTTOM])
    def test_what_is_cut_off_is_the_neighbour_and_never_the_word(self, side):
        word, neighbour = np.full((30, 80), 200, np.uint8), np.full((26, 20), 90, np.uint8)
        for seed in range(50):
            joined, new, lost = street.attach(word, neighbour, side, rng(seed))
            assert 0 < lost < new < 1
            cut = [0.0] * 4
            cut[side] = new
            assert np.array_equal(street.crop_sides(joined, tuple(cut)), word)
            cut[side] = lost
            assert 90 in street.crop_sides(joined, tuple(cut))  # some of it is left to be seen

    def test_neighbours_on_all_sides_leave_the_word_whole(self, monkeypatch):
        monkeypatch.setattr(street, "OFTEN", (1, 1, 1, 1))
        word = np.full((30, 80), 201, np.uint8)
        for seed in range(50):
            joined, cut = street.add_surroundings(word, "Moniker", rng(seed), FACES[0])
            assert (street.crop_sides(joined, cut) == 201).sum() >= word.size


class TestEdges:
    def test_they_cut_two_fifths_of_a_letter_at_most_and_only_where_no_neighbour_is(self):
        drawn = [street.clip_margins((1, 2, 3, 4), (0.1, 0, 0, 0), 20.0, rng(seed)) for seed in range(500)]
        left, top, right, bottom = np.transpose(drawn)
        assert (left == 1).all()
        assert ((right == 3) | ((right <= 0) & (right >= -8))).all()
        assert right.min() < -6
        assert min(top.min(), bottom.min()) > -0.12 * 31
        assert 50 < (right != 3).sum() < 110

    def test_the_picture_loses_what_they_cut(self):
        mask, view = Image.fromarray(np.full((31, 100), 255, np.uint8)), View(1, 0, 1, 0, (0, 0, 0, 0))
        whole, cut = (project(mask, view._replace(margins=margins), 31) for margins in ((0, 0, 0, 0), (-9, 0, -5, 0)))
        assert whole.shape[1] - cut.shape[1] == 14


class TestDecorated:
    def test_sides_lie_behind_the_letters_and_reach_as_deep_as_the_board(self):
        mask = np.zeros((20, 60), np.uint8)
        mask[5:15, 10:20] = 255
        layers = np.asarray(street.extrude(mask, 6, 1, -1))
        assert (layers[..., 2] >= layers[..., 0]).all()
        rows, columns = np.nonzero(layers[..., 2] > layers[..., 0])
        assert (
            np.nonzero(layers[..., 0])[0].min() - rows.min(),
            columns.max() - np.nonzero(layers[..., 0])[1].max(),
        ) == (
            6,
            6,
        )

    def test_a_tube_follows_the_edges_and_its_light_fades(self):
        mask = np.zeros((30, 60), np.uint8)
        mask[8:22, 15:45] = 255
        tube = np.asarray(street.light(mask, 2.0, hollow=True))
        whole = np.asarray(street.light(mask, 2.0, hollow=False))
        middle = tube.shape[0] // 2, tube.shape[1] // 2
        assert tube[..., 0][middle] == 0 < whole[..., 0][middle]
        assert tube[0, 0, 1] == 0
        assert tube[..., 1].max() > 60

    def test_about_a_tenth_is(self):
        mask = np.full((30, 80), 255, np.uint8)
        assert 20 < sum(street.decorate(mask, rng(seed)) is not None for seed in range(400)) < 60


def test_few_pixels_leave_six_to_a_letter():
    wide = np.tile(np.array([0, 255], np.float32).repeat(3), (31, 20))
    assert all(np.array_equal(street.downsample(wide, rng(seed), 6.0), wide) for seed in range(40))
    assert not all(np.array_equal(street.downsample(wide, rng(seed), 20.0), wide) for seed in range(40))


def test_a_picture_is_as_high_as_synth90ks_and_never_empty_of_columns():
    for seed in range(200):
        height, width = street.street("It", rng(seed), FACES).shape
        assert 30 <= height <= 33
        assert width >= 1


def test_the_label_is_the_word_alone(tmp_path):
    (tmp_path / "words.txt").write_text("kiwi\n1905\n")
    render.main(["--style", "street", "--count", "200", "--lexicon", str(tmp_path / "words.txt"), "--workers", "1",
                 "--split", "1/0/0", "--out", str(tmp_path)])  # fmt: skip
    texts = {path.stem.split("_")[1].lower() for path in tmp_path.rglob("*.jpg")}
    assert texts == {"kiwi", "1905"}
