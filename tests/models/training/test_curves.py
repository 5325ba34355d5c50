"""The picture of a training: what is in it, that it goes on after a stop, and what is refused before it."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image
from tensorboardX.proto.event_pb2 import Event

from bench.errors import UserError
from models import train
from models.training.curves import MOST, VALIDATED, Curves, check_curves

SMALL = [
    "--recipe", "crnn_small", "--device", "CPU", "--batch-size", "8", "--model.hidden", "8", "--data.width", "48",
    "--warmup-steps", "1", "--min-steps", "1", "--min-seconds", "0", "--log-every", "5",
]  # fmt: skip


def scalars(folder):
    """Names in an event file, whose records are: length (8 bytes), a checksum (4), the event, a checksum (4)."""
    names = set()
    for file in folder.glob("*"):
        content, place = file.read_bytes(), 0
        while place < len(content):
            length = int.from_bytes(content[place : place + 8], "little")
            event = Event.FromString(content[place + 12 : place + 12 + length])
            names |= {value.tag for value in event.summary.value}
            place += 16 + length
    return names


def test_the_same_curves_are_in_the_picture_and_in_tensorboard_and_go_on_after_a_stop(sample, tmp_path):
    def run(epochs, *options):
        places = ["--dataset", str(sample), "--results", str(tmp_path / "runs"), "--checkpoints", str(tmp_path / "ck")]
        train.main([*SMALL, *places, "--epochs", epochs, "--curves", str(tmp_path / "out" / "curves.png"), *options])

    run("1")
    first = np.asarray(Image.open(tmp_path / "out" / "curves.png"))
    assert first.shape[:2] == (600, 1200)
    run("2", "--resume")
    assert (np.asarray(Image.open(tmp_path / "out" / "curves.png")) != first).any()
    [path] = (tmp_path / "ck").glob("*_2E_*/last.pt")
    kept = json.loads((path.parent / "curves.json").read_text())
    assert [row[0] for row in kept["logged"]] == [5, 10, 15, 20, 25]
    assert [row[0] for row in kept["validated"]] == [14, 28]
    assert scalars(path.parent / "tensorboard") == {"loss", "lr", *VALIDATED}


def test_an_epoch_shorter_than_log_every_has_its_mean_loss(sample, tmp_path):
    places = ["--dataset", str(sample), "--results", str(tmp_path / "runs"), "--checkpoints", str(tmp_path / "ck")]
    train.main([*SMALL[:-2], *places, "--epochs", "2", "--curves", str(tmp_path / "curves.png")])
    [path] = (tmp_path / "ck").glob("*/curves.json")
    kept = json.loads(path.read_text())
    assert [row[0] for row in kept["logged"]] == [row[0] for row in kept["validated"]] == [14, 28]
    assert all(np.isfinite(row).all() and row[1] > 0 and row[2] > 0 for row in kept["logged"])
    assert {"loss", "lr"} <= scalars(path.parent / "tensorboard")


def test_a_long_training_keeps_its_whole_course_in_few_points():
    curves = Curves()
    for step in range(10 * MOST):
        curves.log(step, 1.0, 0.1)
    assert MOST / 2 <= len(curves.logged) <= MOST
    steps = [row[0] for row in curves.logged]
    assert steps == list(range(0, 10 * MOST, curves.every))


def test_what_cannot_be_drawn_is_refused_before_the_training(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="it is a picture"):
        check_curves(tmp_path / "curves.xlsx")
    with pytest.raises(UserError, match="--curves"):
        check_curves(tmp_path / "file" / "curves.png")
    check_curves(None)
