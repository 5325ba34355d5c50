import os
import sys
from functools import partial

import pytest

from bench.errors import UserError
from bench.machine import discovery
from bench.machine.hosts import Place
from bench.records.run_name import RunName
from models import launch
from models.run import batches

ASKED = RunName.parse("CRNN_FP32_30E_4MLUs_Train")


def test_the_environment_overrides_coordinates():
    run = launch.apply_overrides(ASKED, {"DEVICE": "cpu", "CARDS": "2", "PRECISION": "AMP", "HOME": "/x"})
    assert str(run) == "CRNN_AMP_30E_2CPUs_Train"


@pytest.mark.parametrize(
    ("environment", "said"),
    [({"DEVICE": "TPU"}, "DEVICE=TPU is not one of MLU GPU CPU"), ({"CARDS": "two"}, "CARDS=two is not a number")],
)
def test_an_override_that_is_none_is_refused(environment, said):
    with pytest.raises(UserError, match=said):
        launch.apply_overrides(ASKED, environment)


def test_missing_cards_are_refused_with_the_command_that_runs_here(monkeypatch):
    monkeypatch.setattr(discovery, "present", lambda name: int(name == "CPU"))
    with pytest.raises(UserError, match=r"DEVICE=CPU CARDS=1 bash run_scripts/CRNN_FP32_30E_4MLUs_Train.sh"):
        launch.choose_device(ASKED, "CRNN_FP32_30E_4MLUs_Train")


def test_that_command_has_the_options_that_were_typed(monkeypatch):
    """Without `--steps 20` it would be thirty epochs on a CPU."""
    monkeypatch.setattr(discovery, "present", lambda name: int(name == "CPU"))
    with pytest.raises(UserError, match=r"4MLUs_Train.sh --steps 20 --results 'my runs'$"):
        launch.choose_device(ASKED, "CRNN_FP32_30E_4MLUs_Train", ["--steps", "20", "--results", "my runs"])


def test_without_a_device_in_the_name_the_best_one_is_taken(monkeypatch):
    monkeypatch.setattr(discovery, "present", lambda name: int(name != "MLU"))
    assert launch.choose_device(RunName.parse("CRNN_Infer"), "CRNN_Infer").device == "GPU"


@pytest.mark.parametrize(("ended", "code"), [("sys.exit(2)", 2), ("os.kill(os.getpid(), 9)", 137)])
def test_a_sample_that_cannot_be_rendered_ends_the_run_as_its_renderer_did(ended, code, tmp_path, monkeypatch):
    program = tmp_path / "python"
    program.write_text(f"#!{sys.executable}\nimport os, sys\n{ended}\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    monkeypatch.setenv("CRNN_SAMPLE", str(tmp_path / "sample"))
    monkeypatch.delenv("PYTORCH_TRAIN_DATASET", raising=False)
    with pytest.raises(SystemExit) as stopped:
        launch.ensure_dataset([], Place.here())
    assert stopped.value.code == code and "PYTORCH_TRAIN_DATASET" not in os.environ


def test_options_by_hand_win_over_the_name():
    words = launch.arguments(ASKED, "S", ["--steps", "20"])
    assert "--epochs" not in words
    assert words[-2:] == ["--steps", "20"]
    assert launch.arguments(ASKED, "S", [])[-2:] == ["--epochs", "30"]
    assert "--epochs" not in launch.arguments(RunName.parse("CRNN_FP32_1CPU_Infer"), "S", [])


def test_a_measured_card_trains_at_its_batch_and_any_other_is_told_so(tmp_path, monkeypatch, capsys):
    table = tmp_path / "batches.tsv"
    table.write_text("# recipe\tprecision\tcard\tbatch\trecord\ncrnn\tAMP\tNVIDIA H200\t2048\tmade.json\n")
    monkeypatch.setattr(launch, "measured_batch", partial(batches.measured_batch, table=table))
    monkeypatch.setattr(discovery, "card_name", lambda name: "NVIDIA H200")
    run = RunName.parse("CRNN_AMP_30E_8GPUs_Train")
    assert launch.batch_words(run, []) == ["--batch-size", "2048"]
    assert "batch 2048, as measured for NVIDIA H200 (made.json)" in capsys.readouterr().out
    assert launch.batch_words(run, ["--batch-size=64"]) == [] == launch.batch_words(run, ["--config", "a.yaml"])
    assert launch.batch_words(RunName.parse("CRNN_AMP_30E_1CPU_Train"), []) == []
    assert capsys.readouterr() == ("", "")
    assert launch.batch_words(RunName.parse("CRNN_FP32_30E_8GPUs_Train"), []) == []
    said = capsys.readouterr().err
    assert "no batch is measured for crnn at FP32 on NVIDIA H200" in said
    assert "bench.sweep CRNN_FP32_200S_1GPU_Train --auto-batch 8192" in said


def test_the_table_of_batches_is_readable_and_a_broken_line_is_named(tmp_path):
    assert batches.measured_batch("crnn", "AMP", "no such card") is None
    table = tmp_path / "batches.tsv"
    table.write_text("crnn AMP H200 2048\n")
    with pytest.raises(UserError, match="line 1: give recipe, precision, card, batch, record with tabs"):
        batches.measured_batch("crnn", "AMP", "H200", table)
