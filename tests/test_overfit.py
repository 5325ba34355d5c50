"""Every recipe learns 64 plain pictures by heart: `pytest -m slow tests/test_overfit.py`, minutes for each recipe.

A recogniser, a loss or a decoder that is wrong in any place cannot do this; one that is slow to begin can.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from models import render, train
from models.data.rendering.lexicon import read_lexicon
from models.options import RECIPES, Train, parse

PICTURES = 64
# (steps, peak rate of AdamW's one cycle) at batch 16, by how the recipe reads: from docs/recognisers.md for CTC with a
# recurrent layer, the others not yet measured.
SCHEDULES = {"ctc": (200, 1e-3), "recurrent ctc": (400, 1e-3), "attention": (300, 1e-3)}


def kind(recipe: str) -> str:
    model = parse(Train, ["--recipe", recipe], "models.train").model
    return "recurrent ctc" if (model.head, model.sequence != "none") == ("ctc", True) else model.head


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    """A folder with a list of 64 rendered words: whatever split is asked for, it is these."""
    folder = tmp_path_factory.mktemp("plain")
    short = [word for word in read_lexicon() if len(word) == 4][::7]
    (folder / "words").write_text("\n".join(short))
    options = ["--out", str(folder), "--count", str(PICTURES + 16), "--lexicon", str(folder / "words")]
    assert not render.main([*options, "--split", "0.8/0.1/0.1", "--workers", "1", "--seed", "3"])
    found = sorted(folder.rglob("*_*_*.jpg"))[:PICTURES]
    (folder / "list").mkdir()
    (folder / "list" / "labels.txt").write_text(
        "".join(f"{i}.jpg\t{path.stem.split('_')[1]}\n" for i, path in enumerate(found))
    )
    for i, path in enumerate(found):
        path.rename(folder / "list" / f"{i}.jpg")
    return folder / "list"


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("recipe", sorted(path.stem for path in RECIPES.glob("*.yaml")))
def test_64_pictures_are_learned_by_heart(recipe, pictures, tmp_path):
    torch.set_num_threads(2)
    steps, rate = SCHEDULES[kind(recipe)]
    schedule = ["--optimizer.name", "adamw", "--optimizer.lr_batch", "16", "--optimizer.schedule", "one_cycle"]
    places = ["--dataset", str(pictures), "--checkpoints", str(tmp_path / "ck"), "--results", str(tmp_path / "runs")]
    options = ["--recipe", recipe, "--data.width", "100", "--batch-size", "16", "--precision", "AMP", "--device", "CPU"]
    train.main([*places, *options, *schedule, "--optimizer.lr", str(rate), "--steps", str(steps)])
    [path] = (tmp_path / "runs").glob("*.json")
    accuracy = json.loads(path.read_text())["accuracy"]
    assert (accuracy["correct"], accuracy["n"]) == (PICTURES, PICTURES)
