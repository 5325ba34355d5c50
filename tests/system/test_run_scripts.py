"""The scripts themselves: what they are called, and what really happens when they run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from bench.records.checks import validation_errors
from bench.records.record import Record
from bench.records.run_name import RunName
from tests.support import ROOT

SCRIPTS = ROOT / "run_scripts"
TOOLS = {
    "common",
    "run",
    "setup",
    "quickstart",
    "test",
    "compare",
    "weights",
    "weights_gpu",
    "scaling",
    "weights_chinese",
}
NAMED = sorted(p for p in SCRIPTS.glob("*.sh") if p.stem not in TOOLS)
QUICK = ["--batch-size", "4", "--steps", "3", "--warmup-steps", "1"]
ONCE = ["--min-seconds", "0", "--min-steps", "0"]  # a split is read once, however small


def test_every_named_script_is_the_same_two_lines_and_its_name_is_a_run():
    assert {p.read_text() for p in NAMED} == {'#!/usr/bin/env bash\nsource "$(dirname "$0")/common.sh"\n'}
    for path in NAMED:
        assert str(RunName.parse(path.stem)) == path.stem


def test_the_readme_lists_every_named_script():
    readme = (SCRIPTS.parent / "README.md").read_text()
    assert [p.name for p in NAMED if p.name not in readme] == []


def test_shellcheck_finds_nothing():
    scripts = [*SCRIPTS.rglob("*.sh"), *SCRIPTS.parent.glob("docker/**/*.sh"), SCRIPTS.parent / ".ci" / "run"]
    shellcheck = str(Path(sys.executable).parent / "shellcheck")
    done = subprocess.run([shellcheck, "-x", *map(str, scripts)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def records(folder):
    return [Record.load(path) for path in sorted(folder.glob("*.json"))]


def test_two_processes_train_and_test_through_the_scripts(script, tmp_path):
    """A script for four MLUs, turned into two CPU processes: the record carries the name of what really ran."""
    results = ["--results", str(tmp_path / "runs")]
    done = script("CRNN_FP32_30E_4MLUs_Train", *QUICK, *results, DEVICE="CPU", CARDS="2")
    assert done.returncode == 0, done.stderr
    [trained] = records(tmp_path / "runs")
    assert trained.run == "CRNN_FP32_3S_2CPUs_Train"
    assert trained.options["run"] == "CRNN_FP32_30E_4MLUs_Train"
    assert [rank["images"] for rank in trained.series] == [[4] * 3] * 2
    assert trained.accuracy["n"] == 40
    assert list(validation_errors(trained)) == []

    done = script("CRNN_Infer", *results, *ONCE, "--batch-size", "7", "--latency-runs", "2", DEVICE="CPU", CARDS="2")
    assert done.returncode == 0, done.stderr
    tested = next(r for r in records(tmp_path / "runs") if r.task == "Infer")
    assert tested.run == "CRNN_FP32_2CPUs_Infer"
    assert sum(sum(rank["images"]) for rank in tested.series) == tested.accuracy["n"] == tested.dataset["n"] == 40
    assert {row["batch"] for row in tested.latency} == {1, 7}
    assert list(validation_errors(tested)) == []


def test_two_processes_begin_as_one_does(script, tmp_path):
    """The same first global batch on one and on two ranks; who reads what is test_dataset's."""
    losses = []
    for cards, batch in (("1", "8"), ("2", "4")):
        place = tmp_path / cards
        done = script(
            "CRNN_FP32_30E_1CPU_Train", "--steps", "3", "--batch-size", batch, "--results", str(place), CARDS=cards
        )
        assert done.returncode == 0, done.stderr
        losses.append(records(place)[0].training["loss"])
    # Batch norm sees the rank's own images, so the networks drift apart slowly.
    assert losses[0][0] == pytest.approx(losses[1][0], rel=0.05)


def test_four_mlus_on_a_machine_with_none_stop_at_once(script):
    done = script("CRNN_FP32_30E_4MLUs_Train", timeout=30)
    assert done.returncode == 2
    [line] = done.stderr.strip().splitlines()
    assert "4 MLU asked for; found 0 MLU, 0 GPU" in line
    assert "DEVICE=CPU CARDS=1 bash run_scripts/CRNN_FP32_30E_4MLUs_Train.sh" in line


@pytest.mark.parametrize(
    ("options", "environment", "said"),
    [
        (["--latency-rnus", "3"], {}, "did you mean --latency-runs?"),
        ([], {"PYTORCH_TRAIN_DATASET": "/nowhere"}, "/nowhere"),
        (["--checkpoint", "none.pt"], {}, "no checkpoint at none.pt"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(options, environment, said, script):
    done = script("CRNN_FP32_1CPU_Infer", *options, **environment)
    assert done.returncode == 2
    [line] = done.stderr.strip().splitlines()
    assert said in line


def test_a_refusal_on_many_ranks_is_said_once(script):
    done = script("CRNN_FP32_30E_2CPUs_Train", *QUICK, "--data.charset", "aa")
    assert done.returncode == 2
    assert done.stderr.count("error:") == 1
    assert "no charset 'aa'" in done.stderr


def test_without_a_checkpoint_speed_is_measured_and_accuracy_stays_empty(script, tmp_path):
    unlike_those_shipped = ["--model.hidden", "8"]
    options = [*ONCE, *unlike_those_shipped, "--latency-runs", "0", "--results", str(tmp_path / "runs")]
    done = script("CRNN_FP32_1CPU_Infer", *options)
    assert done.returncode == 0, done.stderr
    assert "no trained checkpoint" in done.stdout
    [record] = records(tmp_path / "runs")
    assert record.accuracy is None
    assert record.throughput["images_per_s"] > 0


def test_a_record_is_json_that_anybody_reads(script, tmp_path):
    script("CRNN_FP32_1CPU_Infer", *ONCE, "--latency-runs", "0", "--results", str(tmp_path / "runs"))
    [path] = (tmp_path / "runs").glob("*.json")
    content = json.loads(path.read_text())
    assert content["provenance"]["versions"]["torch"]
    assert content["power"] is None


def test_a_scaling_table_is_one_command(script, tmp_path):
    """Two rows, the share of the ideal in the second, and a plot with its line; a mistake ends it with its line."""
    pattern = "CRNN_SMALL_FP32_6S_{1,2}CPU_Train"
    words = [
        "--batch-size",
        "4",
        "--warmup-steps",
        "1",
        "--without",
        "validation",
        "--min-seconds",
        "0",
        "--min-steps",
        "1",
    ]
    done = script("scaling", pattern, "--", *words, RESULTS=str(tmp_path / "scaling"), timeout=200)
    assert done.returncode == 0, done.stderr
    table = (tmp_path / "scaling/scaling.md").read_text()
    heads, one, two = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in table.splitlines()
        if line.startswith(("| run", "| CRNN"))
    ]
    share = heads.index("scaling %")
    assert one[share] == "" and 5 < float(two[share]) < 150
    assert "ideal" in (tmp_path / "scaling/scaling.html").read_text()
    assert script("scaling", "CRNN_{1,2").returncode == 2
