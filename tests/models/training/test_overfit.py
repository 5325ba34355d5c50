"""Every recipe learns 64 plain images by heart:  `pytest -m slow tests/models/training/test_overfit.py -k '[rare]'`.

A recogniser, a loss or a decoder that is wrong in any place cannot do this; one that is slow to begin can. On one core
of a 2-core AMD EPYC, another job on the other: shufflenetv2_cifar 57 s, crnn_chinese 84 s, densenet121 90 s,
crnn_variable 95 s, crnn 99 s, mobilenetv2_cifar 100 s, seq2seq_attention 170 s; with two others on the machine:
densenet_cifar 288 s, resnet_cifar 308 s, rare 437 s.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from models import render, train
from models.rendering.lexicon import read_words
from models.run.options import RECIPES, Train, parse

PICTURES, BATCH, WIDTH = 64, 16, 48  # px: words of three letters
# (steps, peak rate of AdamW's one cycle), by how the recipe reads.
SCHEDULES = {"ctc": (250, 1e-3), "recurrent ctc": (300, 1e-3), "attention": (300, 1e-3)}


def kind(recipe: str) -> str:
    model = parse(Train, ["--recipe", recipe], "models.train").model
    return "recurrent ctc" if (model.head, model.sequence != "none") == ("ctc", True) else model.head


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    """A folder with a list of 64 rendered words: whatever split is asked for, it is these."""
    folder, listed = tmp_path_factory.mktemp("plain"), tmp_path_factory.mktemp("listed")
    (folder / "words").write_text("\n".join(word for word in read_words() if len(word) == 3))
    options = ["--out", str(folder), "--count", str(PICTURES), "--lexicon", str(folder / "words")]
    render.main([*options, "--split", "1/0/0", "--workers", "1", "--seed", "3"])
    found = sorted(folder.rglob("*_*_*.jpg"))
    assert len(found) == PICTURES
    lines = [f"{i}.jpg\t{path.stem.split('_')[1]}\n" for i, path in enumerate(found)]
    (listed / "labels.txt").write_text("".join(lines))
    for i, path in enumerate(found):
        path.rename(listed / f"{i}.jpg")
    return listed


@pytest.fixture
def judged_once(monkeypatch):
    """An epoch is four steps here: validate after the last one only, and keep no snapshot."""
    validate = train.Training.validate
    at_the_end = lambda self: self.optimizer.step < self.total_steps or validate(self)  # noqa: E731
    monkeypatch.setattr(train.Training, "validate", at_the_end)
    monkeypatch.setattr(train.Training, "save", lambda self: None)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("recipe", sorted(path.stem for path in RECIPES.glob("*.yaml")))
def test_64_pictures_are_learned_by_heart(recipe, pictures, tmp_path, judged_once):
    steps, rate = SCHEDULES[kind(recipe)]
    schedule = ["--optimizer.name", "adamw", "--optimizer.lr-batch", str(BATCH), "--optimizer.schedule", "one_cycle"]
    places = ["--dataset", str(pictures), "--checkpoints", str(tmp_path / "ck"), "--results", str(tmp_path / "runs")]
    widths = ["--data.width", str(WIDTH), "--model.rectified-width", str(WIDTH)]
    options = ["--recipe", recipe, "--batch-size", str(BATCH), "--precision", "AMP", "--device", "CPU"]
    train.main([*places, *options, *widths, *schedule, "--optimizer.lr", str(rate), "--steps", str(steps)])
    [path] = (tmp_path / "runs").glob("*.json")
    accuracy = json.loads(path.read_text())["accuracy"]
    assert (accuracy["correct"], accuracy["n"]) == (PICTURES, PICTURES)
