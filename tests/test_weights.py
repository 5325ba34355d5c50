"""The weights that come with the repository read what they read when they came."""

from __future__ import annotations

import pytest

from bench.record import Record
from models import render, weights

# Hard words that nobody trained on: the bundled faces, a seed of their own.
WORDS = ["--style", "hard", "--count", "600", "--seed", "99", "--split", "0/0/1", "--workers", "1"]
READ = {"crnn": {"FP32": 485, "AMP": 485}}  # name -> precision -> how many of the 600
ALLOWED = 3  # half a point: what another FreeType, JPEG decoder or torch may move


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    out = tmp_path_factory.mktemp("words")
    render.main([*WORDS, "--out", str(out)])
    return out


def test_every_shipped_file_is_held_to_a_count():
    assert READ.keys() == weights.TABLE.keys()


@pytest.mark.parametrize("name, precision", [(name, precision) for name in READ for precision in READ[name]])
def test_no_fewer_words_are_read_than_when_they_came(name, precision, words, script, tmp_path):
    options = ["--dataset", str(words), "--results", str(tmp_path / "runs")]
    done = script(
        "CRNN_Infer",
        *options,
        "--min-seconds",
        "0",
        "--min-steps",
        "0",
        "--latency-runs",
        "0",
        DEVICE="CPU",
        PRECISION=precision,
    )
    assert done.returncode == 0, done.stderr
    assert f"weights: {weights.path(name)}, which come with the repository" in done.stdout
    [file] = (tmp_path / "runs").glob("*.json")
    accuracy = Record.load(file).accuracy
    assert accuracy["n"] == 600
    assert accuracy["correct"] >= READ[name][precision] - ALLOWED
