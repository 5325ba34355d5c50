"""Going on from a checkpoint: what is found, what is compared with it, and that finished work is never lost."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
from contextlib import nullcontext

import pytest
import torch

from bench.errors import UserError
from bench.machine.world import World
from models import prepare, render, train
from models.training.result import LossHistory
from models.training.snapshot import Position, Snapshots, refuse_other_shares
from models.weights import checkpoint

RUN = "CRNN_SMALL_FP32_{}_1CPU_Train"
SMALL = [
    "--recipe", "crnn_small", "--device", "CPU", "--batch-size", "8", "--model.hidden", "8", "--data.width", "48",
    "--warmup-steps", "1", "--min-steps", "1", "--min-seconds", "0", "--log-every", "1",
]  # fmt: skip


def draw(folder, seed: int, count: int = 40):
    shares = ["--seed", str(seed), "--split", "0.6/0.2/0.2", "--workers", "1", "--style", "plain"]
    render.main(["--out", str(folder), "--count", str(count), *shares])
    return folder


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    """Two sets of the same name and size, with other words."""
    folder = tmp_path_factory.mktemp("sets")
    return draw(folder / "a" / "words", 7), draw(folder / "b" / "words", 99)


class Place:
    def __init__(self, folder, data):
        self.folder, self.data = folder, data

    def train(self, *options):
        """The newest record that it leaves."""
        before = set((self.folder / "runs").glob("*.json"))
        places = ["--checkpoints", str(self.folder / "ck"), "--results", str(self.folder / "runs")]
        train.main([*SMALL, "--dataset", str(self.data), *places, *options])
        [new] = set((self.folder / "runs").glob("*.json")) - before
        return json.loads(new.read_text())

    def file(self, length: str, name: str = "last.pt"):
        return self.folder / "ck" / RUN.format(length) / name


@pytest.fixture(scope="module")
def trained(sets, tmp_path_factory):
    """A finished run of one epoch, not to be changed."""
    place = Place(tmp_path_factory.mktemp("trained"), sets[0])
    place.train("--epochs", "1")
    return place


@pytest.fixture
def place(trained, tmp_path):
    """A copy of it."""
    shutil.copytree(trained.folder / "ck", tmp_path / "ck")
    return Place(tmp_path, trained.data)


def test_a_checkpoint_says_what_it_was_made_of(trained):
    content = checkpoint.read(trained.file("1E"))
    assert content["options"]["optimizer"]["name"] == "adamw" and content["options"]["batch_size"] == 8
    assert re.fullmatch("[0-9a-f]{64}", content["data_digest"]["hex"]) and content["data_digest"]["sampled"] is False


def test_finished_work_is_replaced_only_when_that_is_said(place):
    before = {path: path.read_bytes() for path in (place.folder / "ck").rglob("*.pt")}
    with pytest.raises(UserError, match=r"holds the checkpoints of a run already: go on .*--resume, .*--overwrite"):
        place.train("--epochs", "1")
    with pytest.raises(UserError, match=r"holds the checkpoints"):  # nor by a file of another folder
        shutil.copy(place.file("1E"), place.folder / "elsewhere.pt")
        place.train("--epochs", "1", "--resume", str(place.folder / "elsewhere.pt"))
    assert {path: path.read_bytes() for path in (place.folder / "ck").rglob("*.pt")} == before
    place.train("--epochs", "1", "--overwrite", "--seed", "5")
    assert checkpoint.read(place.file("1E"))["options"]["seed"] == 5
    assert not place.file("1E", "previous.pt").exists()  # which would be of the run that was replaced


def test_what_is_overwritten_stays_until_there_is_something_in_its_place(place, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    before = {path: path.read_bytes() for path in (place.folder / "ck").rglob("*.pt")}
    monkeypatch.setattr(train.Training, "train_step", killed)
    with pytest.raises(KeyboardInterrupt):
        place.train("--epochs", "1", "--overwrite")
    assert {path: path.read_bytes() for path in (place.folder / "ck").rglob("*.pt")} == before


def test_an_ablation_saves_nothing_and_needs_no_word(place):
    place.train("--epochs", "1", "--without", "validation")


@pytest.mark.parametrize("length", [("--epochs", "3"), ("--steps", "7")])
def test_more_epochs_or_steps_go_on(place, length, capsys):
    record = place.train(*length, "--resume")
    said = capsys.readouterr().out
    made = {"--epochs": 9, "--steps": 7}[length[0]]
    assert (record["training"]["resumed_from_step"], record["training"]["steps"]) == (3, made)
    assert f"resuming from {place.file('1E')}: step 3 of {made}" in said
    assert place.file(length[1] + length[0][2].upper(), "best.pt").exists()  # also where no validation was better
    assert place.file("1E").exists()


def test_a_named_snapshot_is_gone_on_from(place, capsys):
    kept = shutil.copy(place.file("1E"), place.folder / "kept.pt")
    record = place.train("--epochs", "2", "--resume", str(kept))
    assert record["training"]["resumed_from_step"] == 3
    assert f"resuming from {kept}" in capsys.readouterr().out


def test_with_nothing_to_resume_it_ends_and_says_what_it_looked_for(place):
    with pytest.raises(UserError, match=r"no last.pt of CRNN_SMALL_BF16_1E_1CPU_Train.*which has CRNN_SMALL_FP32_1E"):
        place.train("--epochs", "1", "--resume", "--precision", "BF16")
    with pytest.raises(UserError, match=r"no checkpoint at nowhere.pt"):
        place.train("--epochs", "1", "--resume", "nowhere.pt")
    with pytest.raises(UserError, match=r"has weights but no position, random, stepper of a training: .*--start-from"):
        content = checkpoint.read(place.file("1E"))
        kept = {key: content[key] for key in ("network", "charset", "recipe", "data", "model")}
        checkpoint.write(kept, place.folder / "weights.pt")
        place.train("--epochs", "2", "--resume", str(place.folder / "weights.pt"))


def test_auto_begins_where_there_is_nothing_and_goes_on_with_this_very_run_alone(place):
    """For schedulers, which start a job that was lost with the same words."""
    assert place.train("--epochs", "2", "--resume", "auto")["training"]["resumed_from_step"] is None
    assert place.train("--epochs", "2", "--resume", "auto")["training"]["resumed_from_step"] == 6


CHANGES = {
    "data": ([], r"the data set \(Synth90k-sample was [0-9a-f]{12}, this is [0-9a-f]{12}\)"),
    "shape": (["--data.width", "64"], r"--data.width \(48 then, 64 now\)"),
    "optimizer": (["--optimizer.name", "sgd", "--optimizer.lr", "1e-3"], r"--optimizer.name \(adamw then, sgd now\)"),
    "batch": (["--batch-size", "4"], r"--batch-size \(8 then, 4 now\)"),
    "seed": (["--seed", "5"], r"--seed \(1 then, 5 now\)"),
    "augment": (["--augment"], r"--augment \(False then, True now\)"),
}


@pytest.mark.parametrize("word", CHANGES)
def test_what_differs_is_named_and_refused_or_allowed_by_name(word, place, sets, capsys):
    options, said = CHANGES[word]
    if word == "data":
        place.data = sets[1]
    with pytest.raises(UserError, match=rf"last.pt: made otherwise: {said}.*--allow {word}"):
        place.train("--epochs", "2", "--resume", *options)
    record = place.train("--epochs", "2", "--resume", *options, "--allow", word)
    assert re.search(f"going on with other options, as --allow says: {said}", capsys.readouterr().out)
    n, seen = record["dataset"]["n"], sum(record["series"][0]["images"])
    assert seen == n * (2 if word in ("data", "shape", "seed") else 1)  # an epoch of other samples begins anew
    assert record["training"]["epochs"] == 2


def test_fewer_epochs_than_were_made_are_refused(place):
    place.train("--epochs", "2", "--resume")
    with pytest.raises(UserError, match=r"stands at epoch 2 already, and --epochs 1 is less"):
        place.train("--epochs", "1", "--overwrite", "--resume", str(place.file("2E")))


def test_a_data_set_that_shrank_is_told_by_a_checkpoint_without_a_digest(place, sets, tmp_path):
    """As older releases wrote them."""
    content = {**checkpoint.read(place.file("1E")), "data_digest": None}
    checkpoint.write(content, place.file("1E"))
    place.data = draw(tmp_path / "few", 3, count=10)
    with pytest.raises(UserError, match=r"the data set \(\d+ samples of an epoch were seen, this has \d+\)"):
        place.train("--epochs", "2", "--resume")


def test_another_folder_of_the_same_samples_is_the_same_data(place, trained, tmp_path):
    prepare.main(["--source", str(trained.data), "--out", str(tmp_path / "lmdb"), "--workers", "1"])
    place.data = tmp_path / "lmdb"
    assert place.train("--epochs", "2", "--resume")["training"]["resumed_from_step"] == 3


def test_a_flipped_bit_in_the_newest_is_noticed_and_the_one_before_used(place, capsys):
    place.train("--epochs", "2", "--resume", "--save-every", "2")
    last = place.file("2E")
    assert checkpoint.read(last.with_name("previous.pt"))["stepper"]["step"] == 4
    spoiled = bytearray(last.read_bytes())
    spoiled[len(spoiled) // 3] ^= 0x40
    last.write_bytes(spoiled)
    record = place.train("--epochs", "2", "--resume")
    assert record["training"]["resumed_from_step"] == 4
    assert "damaged: its bytes do not have the SHA-256" in capsys.readouterr().out


def test_a_run_stopped_in_a_validation_inside_an_epoch_resumes_with_it(place, monkeypatch):
    def stopped(self):
        os.kill(os.getpid(), signal.SIGTERM)

    words = ["--epochs", "1", "--seed", "2", "--overwrite", "--validate-every", "2"]
    undisturbed = place.train(*words)
    best = checkpoint.read(place.file("1E", "best.pt"))
    with monkeypatch.context() as patch:
        patch.setattr(train.Training, "validate", stopped)
        with pytest.raises(SystemExit):
            place.train(*words)
    steps = []
    validate = train.Training.validate
    monkeypatch.setattr(train.Training, "validate", lambda self: (steps.append(self.optimizer.step), validate(self)))
    resumed = place.train(*words[:-3], "--resume", *words[-2:])
    assert steps == [2, 3]
    assert resumed["accuracy"]["cer"] == undisturbed["accuracy"]["cer"]
    again = checkpoint.read(place.file("1E", "best.pt"))
    assert all(torch.equal(best["network"][name], again["network"][name]) for name in best["network"])


@pytest.mark.parametrize(
    "theirs, before, consumed, own, ranks, refused",
    [
        ("sharded", 2, 32, "sharded", 2, False),
        ("sharded", 2, 32, "sharded", 4, True),
        ("sharded", 2, 32, "real", 2, True),
        ("resident", 2, 32, "sharded", 2, True),
        ("sharded", 2, 0, "sharded", 4, False),
        ("sharded", 2, 100, "real", 1, False),
        ("real", 2, 32, "resident", 4, False),
    ],
)
def test_shares_of_an_epoch_go_on_with_as_many_cards_only(theirs, before, consumed, own, ranks, refused):
    content = {"options": {"input": theirs}, "random": [None] * before, "position": {"consumed": consumed}}
    with pytest.raises(UserError, match="go on with --input") if refused else nullcontext():
        refuse_other_shares(content, own, ranks, samples=100)


def test_a_validation_after_a_stop_judges_by_every_loss_since_the_one_before(trained, sets, tmp_path, monkeypatch):
    """Where no word is read yet, the loss says which network is the best: it has the bits of an undisturbed run."""
    judged, judge, save = {}, Position.judge, Snapshots.save

    def note(self, score, step):
        judged.setdefault(step, []).append(score)
        return judge(self, score, step)

    def copy(self, best=False):
        save(self, best)
        if self.optimizer.step == 5 and not best:
            shutil.copy(self.folder / "last.pt", tmp_path / "within.pt")

    monkeypatch.setattr(Position, "judge", note)
    monkeypatch.setattr(Snapshots, "save", copy)
    place = Place(tmp_path, sets[0])
    place.train("--epochs", "2", "--save-every", "1")
    monkeypatch.setattr(Snapshots, "save", save)
    place.train("--epochs", "2", "--overwrite", "--resume", str(tmp_path / "within.pt"))
    undisturbed, resumed = judged[6]
    assert undisturbed == resumed


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_losses_before_a_stop_count_on_any_number_of_cards(ranks):
    kept, before = [(3.0, 2.0), (5.0, 2.0)], []
    for rank in range(ranks):
        losses = LossHistory(ranks)
        losses.go_on(kept, World(rank=rank, size=ranks))
        before.append(losses.before)
    assert tuple(map(sum, zip(*before, strict=True))) == (8.0, 4.0)
    assert ranks != 2 or before == kept
