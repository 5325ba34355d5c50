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
    quoted = str(data).replace('"', '""')  # a field of CSV
    assert f'type=bind,"source={quoted}",target=/data,readonly' in words
    assert f"x{value}" in words and "--privileged" not in words


@pytest.fixture
def namesakes(tmp_path):
    """In the working folder of `shell`, as many projects have a models/ and a stranger may have any name."""
    home = tmp_path / "home"
    for name in ("random.py", "torch.py", "yaml.py", "models/__init__.py", "bench/__init__.py"):
        (home / name).parent.mkdir(exist_ok=True)
        (home / name).write_text(f'open({str(home / "HACKED")!r}, "w").close()\n')


@pytest.mark.parametrize("script", ["CRNN_Infer", "compare"])
def test_what_the_working_folder_holds_is_not_run(script, shell, namesakes):
    done = shell(str(ROOT / f"run_scripts/{script}.sh"), "--help")
    assert done.returncode == 0 and "usage:" in done.stdout, done.stderr


def test_it_is_not_run_by_several_processes_either(shell, namesakes, tmp_path, sample):
    places = {"PYTORCH_TRAIN_DATASET": str(sample), "PYTORCH_TRAIN_CHECKPOINT": str(tmp_path), "OMP_NUM_THREADS": "1"}
    words = ["--batch-size", "2", "--results", str(tmp_path), "--min-seconds", "0", "--min-steps", "1"]
    done = shell(str(ROOT / "run_scripts/CRNN_FP32_30E_2CPUs_Train.sh"), "--steps", "1", *words, **places)
    assert done.returncode == 0, done.stderr


def test_env_sh_finds_its_own_root(tmp_path):
    """The model zoo's users source it in their shell."""
    words = f'source "{ROOT}/env.sh"; source "{ROOT}/env.sh"; echo "$CRNN_VENV $PYTHONPATH"'
    kept = {"PATH": os.environ["PATH"]}
    done = subprocess.run(["bash", "-c", words], env=kept, cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout.split() == [f"{ROOT}/.venv", str(ROOT)]
