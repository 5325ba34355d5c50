"""What a validation decides: which network is the best, when training ends; and what of it can be asked for."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from models import test, train
from models.dataset import Batch
from models.decoding.ctc import Decoded
from models.training.optimizer import GuardedOptimizer
from models.training.snapshot import Position
from models.weights import checkpoint
from tests.support.data_samples import make_store

QUICK = [
    "--recipe", "crnn_small", "--device", "CPU", "--batch-size", "8", "--model.hidden", "8", "--data.width", "64",
    "--warmup-steps", "1", "--min-steps", "1", "--min-seconds", "0", "--log-every", "1",
]  # fmt: skip


@pytest.fixture
def run(sample, tmp_path):
    def run(*options, dataset=sample):
        places = ["--checkpoints", str(tmp_path / "ck"), "--results", str(tmp_path / "runs")]
        train.main([*QUICK, "--dataset", str(dataset), *places, "--overwrite", *options])
        newest = max((tmp_path / "runs").glob("*.json"), key=lambda path: path.stat().st_mtime_ns)
        return json.loads(newest.read_text())

    return run


def test_word_accuracy_decides_then_cer_then_the_loss():
    """While no whole word is read right, the first validation is not the best for ever."""
    position = Position()
    assert position.judge([0.0, -0.98, -3.0], 1)
    assert position.judge([0.0, -0.74, -3.5], 2)  # the CER is lower
    assert not position.judge([0.0, -0.80, -2.0], 3)
    assert position.judge([0.0, -0.74, -3.0], 4)  # as good, and learned better
    assert not position.judge([0.0, -0.74, -3.0], 5)
    assert position.judge([0.1, -0.90, -4.0], 6)
    assert (position.best, position.since_best, position.validated) == ([0.1, -0.90, -4.0], 0, 6)


def test_a_best_of_an_older_release_is_a_bare_accuracy():
    position = Position()
    position.restore({"epoch": 3, "consumed": 5, "best": 0.0})
    assert position.judge([0.0, -0.98, -3.0], 7) and not Position(best=[0.5, 0, 0]).judge([0.4, -0.1, -1.0], 1)


@pytest.fixture
def read_as(monkeypatch):
    """read_as([texts, ...]): what the first, second, ... validation reads, whatever the network says."""

    def fixed(rounds):
        rounds = iter(rounds)
        validate = train.Training.validate

        def recognise(batch: Batch, **_) -> Decoded:
            texts = [reads(truth) for truth in batch.texts]
            return Decoded(texts, [1.0] * len(texts), [[1.0] * len(text) for text in texts])

        def next_round(self):
            nonlocal reads
            reads = next(rounds)
            validate(self)

        reads = None
        monkeypatch.setattr(test, "recognise", recognise)
        monkeypatch.setattr(train.Training, "validate", next_round)

    return fixed


def nothing(truth: str) -> str:
    return ""


def half(truth: str) -> str:
    return truth[: len(truth) // 2]


def test_best_is_the_better_of_two_networks_that_read_no_whole_word(run, read_as, tmp_path):
    read_as([nothing, half, nothing])
    run("--steps", "3", "--validate-every", "1")
    folder = tmp_path / "ck" / "CRNN_SMALL_FP32_3S_1CPU_Train"
    assert checkpoint.read(folder / "best.pt")["stepper"]["step"] == 2


def test_validations_inside_an_epoch_and_some_readings_in_the_log(run, capsys):
    record = run("--epochs", "1", "--validate-every", "5", "--validate-shown", "2")
    said = [
        line
        for line in capsys.readouterr().out.splitlines()
        if line.startswith("  ") and ("validation " in line or "read as" in line)
    ]
    steps = record["training"]["steps"]
    assert [line.split(",")[0].strip() for line in said[::3]] == [f"step {n}" for n in (*range(5, steps, 5), steps)]
    assert all(" read as '" in line for line in said[1::3] + said[2::3])
    assert len(record["series"][0]["step_s"]) == steps


def test_a_capped_validation_reads_the_same_samples_and_the_record_says_so(run):
    record = run("--epochs", "1", "--validate-samples", "7")
    assert (record["accuracy"]["n"], record["accuracy"]["split_n"]) == (7, 40)
    assert "split_n" not in run("--epochs", "1")["accuracy"]


def test_early_stop_ends_training_after_validations_without_a_better_one(run, read_as, capsys):
    read_as([half] + [nothing] * 9)
    record = run("--steps", "90", "--validate-every", "1", "--early-stop", "3")
    assert (record["training"]["steps"], record["training"]["total_steps"]) == (4, 90)
    assert record["training"]["stopped_early"] and record["status"] != "failed"


def test_labels_that_attention_cannot_write_are_left_out_and_named(run, tmp_path, capsys):
    """By characters: attention needs no column for the blank between equal letters."""
    words = make_store(tmp_path / "words", ["committee", "abcdefghij", "abcdefghi", "letter"])
    options = ["--model.head", "attention", "--model.longest", "9", "--steps", "1", "--batch-size", "2"]
    record = run(*options, dataset=words)
    assert record["dataset"]["n"] == 3
    said = capsys.readouterr().out
    assert "left out of training: up to 9 characters (--model.longest): 1 labels that do not fit" in said
    assert "'abcdefghij'" in said


def test_the_rate_decays_in_steps():
    """torch's StepLR: times --optimizer.decay after every --optimizer.decay-steps, however long the run is."""
    options = SimpleNamespace(schedule="step", decay_steps=10, decay=0.1)
    rates = [
        GuardedOptimizer.lr.fget(SimpleNamespace(options=options, peak_lr=1.0, step=step, total_steps=25))
        for step in (0, 9, 10, 19, 20)
    ]
    assert rates == pytest.approx([1, 1, 0.1, 0.1, 0.01])
