"""Doubtful images are read again in other views, with the shipped weights on drawn words."""

import numpy as np
import pytest

from models.data.image import Shape
from models.reading.recogniser import Recogniser
from models.reading.views import first_view, other_views
from models.rendering import find_faces, render

WORDS = ("harbour", "window", "market", "silver")


@pytest.fixture(scope="module")
def reader():
    return Recogniser.load("crnn_small", device="CPU")


@pytest.fixture(scope="module")
def drawn():
    faces = find_faces("bundled")
    rng = np.random.Generator(np.random.Philox(key=[7, 7]))
    return [render(word, rng, "plain", faces) for word in WORDS]


def test_a_word_that_runs_up_or_down_is_read_turned(reader, drawn):
    up, down = [np.rot90(image, 1).copy() for image in drawn], [np.rot90(image, 3).copy() for image in drawn]
    readings = reader(up + down, alternatives=0)
    assert [reading.text for reading in readings] == [*WORDS, *WORDS]
    assert [reading.turned for reading in readings] == [270] * len(WORDS) + [90] * len(WORDS)
    plain = Recogniser.load("crnn_small", device="CPU", views=False)
    assert not {reading.text for reading in plain(up, alternatives=0)} & set(WORDS)


def test_what_is_sure_is_not_read_again(reader, drawn, monkeypatch):
    sizes = []
    whole = reader.read_batch
    monkeypatch.setattr(reader, "read_batch", lambda images, more: sizes.append(len(images)) or whole(images, more))
    readings = reader(drawn, alternatives=0)
    doubtful = sum(min(reading.character_confidences) < 0.95 for reading in readings)
    assert sizes[0] == len(WORDS) and sum(sizes[1:]) == 3 * doubtful and doubtful < len(WORDS)


def test_views_of_words_are_narrower_wider_and_turned():
    shape = Shape()

    def widths(height, width):
        views = other_views(np.zeros((height, width, 1), np.uint8), shape, True)
        return [(view.image.shape[1], view.turned) for view in views]

    assert widths(32, 32) == [(68, 0), (52, 0)]
    assert widths(32, 100) == [(68, 0), (52, 0), (132, 0)]
    assert widths(90, 30) == [(68, 0), (52, 0), (100, 90), (100, 270)]
    assert first_view(np.zeros((90, 30, 1), np.uint8), shape).image.shape == (32, 100, 1)


def test_where_the_ratio_is_kept_only_tall_images_have_other_views():
    shape = Shape(32, 640, 1, True)
    assert other_views(np.zeros((32, 300, 1), np.uint8), shape, True) == []
    turned = other_views(np.zeros((300, 32, 1), np.uint8), shape, True)
    assert [(view.image.shape, view.turned) for view in turned] == [((32, 300, 1), 90), ((32, 300, 1), 270)]
