"""Training in this process on the small sample; tests/system/test_run_scripts.py does it through the scripts."""

from __future__ import annotations

import json
import os
import signal

import pytest
import torch

from bench.errors import UserError
from models import prepare, test, train
from models.network.heads import CTC
from models.run.context import open_context
from models.run.options import Train, parse
from models.train import Training
from models.training import device_batch
from models.weights import checkpoint
from models.weights.checksum import digest_weights
from tests.support.data_samples import WORDS, make_store
from tests.support.images import jpeg

QUICK = ["--device", "CPU", "--batch-size", "8", "--log-every", "1", "--warmup-steps", "1"]


@pytest.fixture
def places(tmp_path, sample):
    return ["--dataset", str(sample), "--checkpoints", str(tmp_path / "ck"), "--results", str(tmp_path / "runs")]


def records(tmp_path):
    return [json.loads(p.read_text()) for p in sorted((tmp_path / "runs").glob("*.json"))]


def test_a_run_leaves_a_record_and_checkpoints(places, tmp_path, capsys):
    train.main([*places, *QUICK, "--steps", "4"])
    [record] = records(tmp_path)
    assert record["run"] == "CRNN_FP32_4S_1CPU_Train"
    assert record["dataset"] == record["dataset"] | {
        "n": 120, "is_sample": True, "is_whole": False, "skipped": 0, "split": "train",
    }  # fmt: skip
    assert len(record["series"][0]["step_s"]) == record["training"]["steps"] == len(record["training"]["loss"]) == 4
    assert record["accuracy"]["n"] == 40
    content = checkpoint.read(tmp_path / "ck" / record["run"] / "last.pt")
    assert record["dataset"]["digest_sha256"] == content["data_digest"]["hex"]
    assert record["dataset"]["digest_images"] == 120
    assert record["precision_evidence"]["autocast_dtype"] == "float32"
    assert {p.name for p in (tmp_path / "ck" / record["run"]).iterdir()} == {
        "last.pt",
        "best.pt",
        "curves.json",
        "lock",
        "run.yaml",
        "tensorboard",
    }
    said = capsys.readouterr().out
    assert "a rendered sample, not Synth90k" in said and "split of its own" not in said


def test_a_data_set_without_splits_is_said_to_be_validated_on_what_it_trains_on(places, tmp_path, capsys):
    words = make_store(tmp_path / "words", ["committees" * 3, *WORDS])  # one of which is left out of training
    train.main([*places, *QUICK, "--dataset", str(words), "--steps", "1"])
    assert capsys.readouterr().out.count(f"warning: {words} has no val split of its own") == 1
    [record] = records(tmp_path)
    assert record["dataset"]["is_whole"] and record["dataset"]["n"] == len(WORDS)


def test_another_data_set_can_be_validated_on_and_images_can_lie_elsewhere(places, tmp_path, capsys):
    others = make_store(tmp_path / "others", WORDS[:3])
    (tmp_path / "images").mkdir()
    (tmp_path / "lists").mkdir()
    for i, word in enumerate(WORDS):
        (tmp_path / "images" / f"{i}.jpg").write_bytes(jpeg(seed=i))
        with (tmp_path / "lists" / "train.txt").open("a") as file:
            file.write(f"{i}.jpg\t{word}\n")
    options = ["--dataset", str(tmp_path / "lists"), "--val-dataset", str(others), "--steps", "1"]
    with pytest.raises(UserError, match=r"none of its first 8 images can be read.*--image-root"):
        train.main([*places, *QUICK, *options])
    train.main([*places, *QUICK, *options, "--image-root", str(tmp_path / "images")])
    assert "split of its own" not in capsys.readouterr().out
    [record] = records(tmp_path)
    assert (record["dataset"]["n"], record["accuracy"]["n"]) == (len(WORDS), 3)


def test_an_epoch_is_every_picture_once(places, tmp_path):
    train.main([*places, *QUICK, "--batch-size", "50", "--epochs", "1"])
    [record] = records(tmp_path)
    assert record["series"][0]["images"] == [50, 50, 20]
    assert record["run"] == "CRNN_FP32_1E_1CPU_Train"


class Killed(BaseException):
    """Stands for a power cut: nothing catches it."""


def weights_after(places, tmp_path, *options):
    train.main([*places, *QUICK, "--steps", "6", "--save-every", "2", *options])
    return checkpoint.read(tmp_path / "ck" / "CRNN_FP32_6S_1CPU_Train" / "last.pt")


def test_a_killed_run_resumes_to_the_very_same_weights(places, tmp_path, monkeypatch, capsys):
    undisturbed = weights_after(places, tmp_path)
    (tmp_path / "ck" / "CRNN_FP32_6S_1CPU_Train").rename(tmp_path / "undisturbed")
    step, calls = Training.train_step, []

    def killed_in_step_6(self, batch):
        calls.append(batch)
        if len(calls) == 6:
            raise Killed
        return step(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(Training, "train_step", killed_in_step_6)
        with pytest.raises(Killed):
            weights_after(places, tmp_path)
    resumed = weights_after(places, tmp_path, "--resume")
    assert "step 4 of 6" in capsys.readouterr().out
    assert resumed["stepper"]["step"] == 6
    for name, tensor in undisturbed["network"].items():
        assert torch.equal(tensor, resumed["network"][name]), name


def test_a_stopped_run_goes_on_with_other_batches_and_sees_each_picture_once(places, tmp_path, monkeypatch):
    """As after a change in the number of cards: what is left of the epochs is counted in the new batches."""
    step, small = Training.train_step, [*places, *QUICK, "--epochs", "2", "--data.width", "32", "--model.hidden", "8"]

    def stopped(self, batch):
        os.kill(os.getpid(), signal.SIGINT)
        return step(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(Training, "train_step", stopped)
        with pytest.raises(SystemExit) as ending:
            train.main([*small, "--batch-size", "32"])
        assert ending.value.code == 130
    with pytest.raises(UserError, match=r"--batch-size \(32 then, 16 now\).* --allow batch"):
        train.main([*small, "--batch-size", "16", "--resume"])
    train.main([*small, "--batch-size", "16", "--resume", "--allow", "batch"])
    record = max(records(tmp_path), key=lambda record: record["training"]["steps"])
    n, steps = record["dataset"]["n"], -(-record["dataset"]["n"] // 16)
    assert sum(record["series"][0]["images"]) == 2 * n - 32
    assert record["training"]["resumed_from_step"] == 2
    assert (record["training"]["epochs"], record["training"]["steps"]) == (2, 2 * steps)


def test_the_loss_does_not_depend_on_how_a_batch_is_shared_out(sample):
    """Two ranks' shares add up to the loss of the whole global batch, a short last batch included."""
    options = parse(
        Train, ["--dataset", str(sample), *QUICK, "--batch-size", "6", "--optimizer.lr", "0"], "models.train"
    )
    with open_context(options) as context:
        training = Training(context, options)
        training.network.eval()  # batch norm sees no batch, and a rate of 0 leaves the weights as they are
        training.optimizer.set_lr()
        whole, *shares = [
            training.train_step(training.train_set.__getitems__(share))
            for share in ([0, 1, 2, 3, 4, 5], [0, 2, 4], [1, 3, 5])
        ]
    torch.testing.assert_close(sum(shares), whole)


@pytest.fixture(scope="module")
def packed(sample, tmp_path_factory):
    out = tmp_path_factory.mktemp("packed")
    prepare.main(["--source", str(sample), "--out", str(out), "--packed=true", "--workers", "1"])
    return out


def test_a_resident_set_trains_the_very_same_weights(places, packed, tmp_path, capsys):
    weights = []
    for kind in ("real", "resident"):
        there = ["--dataset", str(packed), "--checkpoints", str(tmp_path / kind), *places[4:]]
        train.main([*there, *QUICK, "--steps", "3", "--input", kind])
        weights.append(checkpoint.read(tmp_path / kind / "CRNN_FP32_3S_1CPU_Train" / "last.pt")["network"])
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert {record["accuracy"]["n"] for record in records(tmp_path)} == {40}


def test_a_resident_set_that_is_not_packed_is_refused_with_the_command_that_packs(places):
    with pytest.raises(UserError, match=r"not packed; `python -m models\.prepare --packed` first"):
        train.main([*places, *QUICK, "--steps", "1", "--input", "resident"])


def test_augmentation_is_off_until_it_is_asked_for(places, monkeypatch):
    seen = []
    monkeypatch.setattr(device_batch, "augment", lambda images, strength: seen.append(strength) or images)
    train.main([*places, *QUICK, "--steps", "1"])
    assert not seen
    train.main([*places, *QUICK, "--steps", "1", "--augment", "--overwrite"])
    assert seen == [device_batch.MODERATE]


def test_not_finite_pictures_are_skipped_and_recorded(places, tmp_path, monkeypatch):
    loss, calls = CTC.loss, []

    def spoiled(self, *arguments):
        calls.append(1)
        return loss(self, *arguments) * (float("nan") if len(calls) == 3 else 1)

    monkeypatch.setattr(CTC, "loss", spoiled)
    train.main([*places, *QUICK, "--steps", "4"])
    [record] = records(tmp_path)
    assert record["training"]["skipped_steps"] == 1


def test_a_checkpoint_of_another_alphabet_is_refused_on_resume(places, capsys):
    train.main([*places, *QUICK, "--steps", "1", "--data.charset", "94"])
    with pytest.raises(UserError, match="another alphabet"):
        train.main([*places, *QUICK, "--steps", "1", "--resume"])


def test_fine_tuning_with_another_alphabet_keeps_all_but_the_last_layer(places, tmp_path, capsys):
    train.main([*places, *QUICK, "--steps", "1"])
    first = tmp_path / "ck" / "CRNN_FP32_1S_1CPU_Train" / "last.pt"
    options = ["--start-from", str(first), "--data.charset", "94", "--optimizer.lr", "0"]
    train.main([*places, *QUICK, "--steps", "2", *options])
    assert "starting from" in capsys.readouterr().out
    old, new = (
        checkpoint.read(p)["network"] for p in (first, first.parents[1] / "CRNN_FP32_2S_1CPU_Train" / "last.pt")
    )
    assert torch.equal(old["backbone.conv0.weight"], new["backbone.conv0.weight"])
    assert old["head.weight"].shape != new["head.weight"].shape


def test_kept_ratios_train_in_batches_of_like_widths(places, tmp_path):
    train.main([*places, *QUICK, "--recipe", "crnn_variable", "--batch-size", "30", "--epochs", "1"])
    [record] = records(tmp_path)
    assert sum(record["series"][0]["images"]) == 120


def test_test_only_tests_what_was_trained_and_trains_nothing(places, tmp_path, capsys):
    train.main([*places, *QUICK, "--steps", "1"])
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "ck").rglob("*.pt")}
    train.main([*places, *QUICK, "--min-steps", "1", "--min-seconds", "0", "--test-only"])
    trained, tested = sorted(records(tmp_path), key=lambda record: record["task"], reverse=True)
    assert (trained["task"], tested["task"]) == ("Train", "Infer")
    assert tested["training"]["checkpoint"].endswith("CRNN_FP32_1S_1CPU_Train/best.pt")
    assert (tested["accuracy"]["n"], tested["latency"]) == (40, [])
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "ck").rglob("*.pt")} == before


def test_a_checkpoint_of_the_first_layout_is_resumed_and_tested(places, tmp_path, capsys):
    """As commit 6cbeed7 wrote them, whose networks had no head_rank: no section has lost or renamed a name since."""
    small = [*places, *QUICK, "--recipe", "crnn_small", "--steps", "3", "--save-every", "2"]
    train.main(small)
    folder = tmp_path / "ck" / "CRNN_SMALL_FP32_3S_1CPU_Train"
    content = checkpoint.read(folder / "previous.pt")
    first = {
        "network": content["network"],
        "stepper": {name: content["stepper"][name] for name in ("optimizer", "scaler", "step", "skipped")},
        "position": {name: content["position"][name] for name in ("epoch", "consumed", "best")},
        "data": {name: content["data"][name] for name in ("height", "width", "channels", "keep_ratio", "charset")},
        "model": {name: value for name, value in content["model"].items() if name != "head_rank"},
        **{name: content[name] for name in ("random", "charset", "recipe", "run", "job", "dataset", "global_batch")},
    }
    expected = checkpoint.read(folder / "last.pt")["network"]
    torch.save({"format": 1, **first}, folder / "last.pt")  # without a checksum
    train.main([*small, "--resume"])
    said = capsys.readouterr().err
    assert said.count("last.pt: of an older release and carries no checksum; the CRC-32 of its parts hold") == 1
    resumed = checkpoint.read(folder / "last.pt")["network"]
    assert all(torch.equal(expected[name], resumed[name]) for name in expected)
    assert {record["training"]["resumed_from_step"] for record in records(tmp_path)} == {None, 2}

    torch.save({"format": 1, **first}, tmp_path / "first.pt")
    quick = ["--device", "CPU", "--min-steps", "1", "--min-seconds", "0", "--latency-runs", "0"]
    test.main([*places, *quick, "--checkpoint", str(tmp_path / "first.pt")])
    [tested] = [record for record in records(tmp_path) if record["task"] == "Infer"]
    assert tested["provenance"]["contents"]["weights_sha256"] == digest_weights(first["network"])
    assert tested["training"]["checkpoint"] == str(tmp_path / "first.pt") and tested["accuracy"]["n"] == 40


def test_labels_that_cannot_fit_are_left_out_and_said(places, tmp_path, capsys):
    train.main([*places, *QUICK, "--steps", "1", "--data.width", "32"])  # T = 9
    assert "labels that do not fit in the time steps" in capsys.readouterr().out
    [record] = records(tmp_path)
    assert record["dataset"]["n"] < 120


@pytest.mark.slow
def test_crnn_learns_what_it_is_shown(places, tmp_path):
    """Overfitting: 120 pictures, shown often enough, are read without a mistake."""
    torch.set_num_threads(2)
    schedule = ["--optimizer.name", "adamw", "--optimizer.lr", "1e-3", "--optimizer.schedule", "one_cycle"]
    train.main([*places, *QUICK, *schedule, "--batch-size", "32", "--precision", "AMP", "--epochs", "60"])
    [record] = records(tmp_path)
    assert record["training"]["loss"][-1] < 0.5
