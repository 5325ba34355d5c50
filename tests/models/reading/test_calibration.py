import json

import numpy as np
import pytest

from bench.errors import UserError
from models import weights
from models.reading.calibration import Calibration, calibration_error, fit_calibration
from models.reading.recogniser import Recogniser, calibration_file


def test_the_error_is_that_of_the_paper():
    """Guo et al. 2017, equation 3: two bins, of 0.25 - 0.5 and 0.9 - 0.75, weighted by how many are in them."""
    values, right = [0.25, 0.25, 0.9, 0.9, 0.9, 0.9], [1, 0, 1, 1, 1, 0]
    assert calibration_error(values, right) == pytest.approx((2 * 0.25 + 4 * 0.15) / 6)
    assert calibration_error([1.0, 0.0], [1, 0]) == 0


def test_a_fit_finds_the_truth_that_made_the_data():
    rng = np.random.default_rng(3)
    paths = rng.uniform(0.02, 0.98, 6000)
    characters = [[max(path, 0.3), min(path * 1.2, 0.99)] * rng.integers(1, 5) for path in paths]
    truth = Calibration(0.5, 1.4, -0.2, 0.3)
    right = [rng.random() < truth(path, own) for path, own in zip(paths, characters, strict=True)]
    fitted = fit_calibration(paths, characters, right)
    after = [fitted(path, own) for path, own in zip(paths, characters, strict=True)]
    assert calibration_error(after, right) < 0.02 < calibration_error(paths, right)
    assert fitted(0.5, []) == 0.0


def test_shipped_weights_say_how_likely_a_text_is_right():
    reader = Recogniser.load("crnn_small", device="CPU")
    assert reader.calibration == Calibration(*weights.SHIPPED["crnn_small"].confidence)
    image = np.full((32, 100), 255, np.uint8)
    plain = Recogniser.load("crnn_small", device="CPU", lexicon=None, beam=3)
    assert plain.calibration is None  # it was fitted to greedy readings
    assert 0 <= reader(image).confidence <= 1


def test_own_weights_have_theirs_beside_them(tmp_path):
    own = tmp_path / "own.safetensors"
    own.write_bytes(weights.path("crnn_small").read_bytes())
    assert Recogniser.load(own, device="CPU").calibration is None
    calibration_file(own).write_text(json.dumps([0.1, 0.2, 0.3, 0.4]))
    assert Recogniser.load(own, device="CPU").calibration == Calibration(0.1, 0.2, 0.3, 0.4)
    calibration_file(own).write_text("[1, 2]")
    with pytest.raises(UserError, match="four numbers"):
        Recogniser.load(own, device="CPU")
