"""Names, paths and options that a shell would run, through the real scripts: one word each, or refused."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys

import pytest

from tests.support import ROOT

HOSTILE = [
    "$(touch HACKED)", "`touch HACKED`", "; touch HACKED", "a b\ntouch HACKED", "| touch HACKED", "&& touch HACKED",
    "'; touch HACKED; '", '"; touch HACKED; "', "--help; touch HACKED", "${PATH:0:1}bin${PATH:0:1}touch", "*", "-rf",
]  # fmt: skip


@pytest.fixture
def shell(tmp_path):
    """shell(words, **environment): run a script in an empty folder where nothing but its own files may appear."""
    home = tmp_path / "home"
    home.mkdir()

    def run(*words: str, **environment: str) -> subprocess.CompletedProcess:
        kept = {"PATH": os.environ["PATH"], "CRNN_PYTHON": sys.executable, "HOME": str(home)}
        done = subprocess.run(
            ["bash", *words], env={**kept, **environment}, cwd=home, capture_output=True, text=True, timeout=120
        )
        assert list(home.rglob("HACKED")) == [] and not (ROOT / "HACKED").exists()
        return done

    return run


@pytest.mark.parametrize("name", ["CRNN_$(touch HACKED)_Infer", "CRNN_Infer; touch HACKED", "`touch HACKED`", "a\nb"])
def test_the_name_of_a_script_is_no_command(name, shell, tmp_path):
    """A copy of run_scripts under any name, in a folder of any name."""
    folder = tmp_path / "with ; $(touch HACKED) 中文" / "run_scripts"
    shutil.copytree(ROOT / "run_scripts", folder)
    for part in ("models", "bench", "env.sh"):
        (folder.parent / part).symlink_to(ROOT / part)
    shutil.copy(folder / "CRNN_Infer.sh", folder / f"{name}.sh")
    done = shell(str(folder / f"{name}.sh"))
    assert done.returncode == 2
    assert "is not a run name" in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.parametrize("value", HOSTILE[:5])
def test_an_environment_is_no_command(value, shell):
    places = {"PYTORCH_TRAIN_DATASET": value, "PYTORCH_TRAIN_CHECKPOINT": value, "CRNN_SAMPLE": value}
    done = shell(str(ROOT / "run_scripts/CRNN_FP32_1CPU_Infer.sh"), **places, IMAGE_NAME=value)
    assert done.returncode == 2
    assert "error:" in done.stderr.strip().splitlines()[-1]


@pytest.mark.parametrize("name", ["--checkpoint", "--recipe", "--lexicon", "--data.charset"])
def test_options_are_no_commands(name, shell, sample):
    words = ["--model.hidden", "8", f"{name}={HOSTILE[3]}; $(touch HACKED)"]
    done = shell(str(ROOT / "run_scripts/CRNN_FP32_1CPU_Infer.sh"), *words, PYTORCH_TRAIN_DATASET=str(sample))
    assert done.returncode == 2, done.stderr
    assert "error:" in done.stderr.strip().splitlines()[-1]


@pytest.mark.parametrize("value", HOSTILE[:5] + HOSTILE[-1:])
def test_a_revision_to_compare_is_no_command_and_no_option(value, shell):
    done = shell(str(ROOT / "run_scripts/compare.sh"), "--", value, ".", "CRNN_FP32_1S_1CPU_Train")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("value", HOSTILE)
def test_what_goes_to_docker_is_one_word_each(value, shell, told_to_docker, tmp_path):
    data = tmp_path / "data" / value.replace("/", "")
    data.mkdir(parents=True)
    places = {"PYTORCH_TRAIN_DATASET": str(data), "PYTORCH_TRAIN_CHECKPOINT": str(tmp_path / "ck"),
              "RESULTS": str(tmp_path / "runs"), "DEV": str(tmp_path / "dev"),
              "PATH": os.environ["PATH"]}  # fmt: skip
    done = shell(str(ROOT / "docker/run_docker.sh"), "CRNN_Infer", "--run", value, **places, IMAGE_NAME=f"x{value}")
    assert done.returncode == 0, done.stderr
    words = json.loads(told_to_docker.read_text())
    assert words[-2:] == ["--run", value]
    assert f'type=bind,"source={data}",target=/data,readonly' in words
    assert f"x{value}" in words and "--privileged" not in words
