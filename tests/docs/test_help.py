"""Every program says what it does and gives an example, and the example runs."""

from __future__ import annotations

import os
import re
import runpy
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.support import ROOT
from tests.support.checkpoints import saved
from tests.support.images import noise
from tests.support.programs import programs
from tests.support.varied_records import write

SERVES = {"models.serve"}  # until it is stopped: tests/models/serving/test_serve.py
LONG = {  # trains, renders, compares: minutes
    "models.render", "models.train", "models.test", "models.loadgen", "models.launch", "models.prepare",
    "bench.sweep", "bench.attribute", "bench.compare", "bench.gate",
    "models.train_drawn",  # at small scale: tests/models/test_train_drawn.py
}  # fmt: skip


def help_of(program: str, monkeypatch, capsys) -> str:
    monkeypatch.setattr(sys, "argv", [program, "--help"])
    monkeypatch.setenv("COLUMNS", "300")  # no line of help is folded
    with pytest.raises(SystemExit) as ended:
        runpy.run_module(program, run_name="__main__", alter_sys=True)
    assert not ended.value.code
    return capsys.readouterr().out


def example_of(text: str) -> list[str]:
    [line] = re.findall(r"^\s*example: (.+)$", text, re.MULTILINE)
    return shlex.split(line)


@pytest.mark.parametrize("program", ["models.train", "bench.report"])
def test_a_program_may_be_started_as_a_file_from_any_folder(program, tmp_path):
    """`python models/train.py -h`, the words of Cambricon's model zoo: no PYTHONPATH, and no models/ here."""
    file = ROOT / f"{program.replace('.', '/')}.py"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, str(file), "-h"], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0 and done.stdout.startswith("usage: "), done.stderr


@pytest.mark.parametrize("program", sorted(programs()))
def test_every_program_finds_the_checkout_when_it_is_started_as_a_file(program):
    """It would take a second each to start them."""
    text = (ROOT / f"{program.replace('.', '/')}.py").read_text()
    assert "\nif not __package__:" in re.split(r"\nfrom (?:bench|models)\b", text)[0]


@pytest.mark.filterwarnings("ignore:.*found in sys.modules:RuntimeWarning")
@pytest.mark.parametrize("program", programs())
def test_it_says_what_it_does_and_gives_an_example(program, monkeypatch, capsys):
    text = help_of(program, monkeypatch, capsys)
    assert len(text.splitlines()) > 4 and "usage: " in text
    example = example_of(text)
    assert example[:3] == ["python", "-m", program] or example[:2] == ["bash", "run_scripts/compare.sh"]


@pytest.fixture
def surroundings_of_examples(tmp_path, monkeypatch) -> Path:
    """A folder in which what the examples name is there."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTORCH_TRAIN_CHECKPOINT", str(saved(tmp_path)))
    for name in ("before.pt", "after.pt"):
        (tmp_path / name).symlink_to("best.pt")
    Image.fromarray(noise()).save(tmp_path / "word.png")
    write(tmp_path / "results" / "runs")
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ssh").mkdir(mode=0o700)
    if keygen := shutil.which("ssh-keygen"):
        key = tmp_path / ".ssh" / "id_ed25519"
        subprocess.run([keygen, "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    return tmp_path


@pytest.mark.filterwarnings("ignore:.*found in sys.modules:RuntimeWarning")
@pytest.mark.parametrize("program", sorted(set(programs()) - LONG - SERVES))
def test_the_example_runs(program, monkeypatch, capsys, surroundings_of_examples):
    _, _, _, *words = example_of(help_of(program, monkeypatch, capsys))
    if program == "bench.sign" and not shutil.which("ssh-keygen"):
        pytest.skip("no ssh-keygen here")
    words = [str(Path(word).expanduser()) if word.startswith("~") else word for word in words]  # as a shell does
    words = [
        str(path) for word in words for path in ((not word.startswith("/") and sorted(Path().glob(word))) or [word])
    ]
    monkeypatch.setattr(sys, "argv", [program, *words])
    try:
        runpy.run_module(program, run_name="__main__", alter_sys=True)
    except SystemExit as ended:
        # bench.verify ends with 1: among these records is one whose run failed, which is what it is there to say
        assert not ended.code or (program, ended.code) == ("bench.verify", 1)
    assert capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("program", ["models.prepare", "models.train", "models.test", "models.launch"])
def test_the_long_example_runs(program, sample, tmp_path, monkeypatch, capsys):
    command = example_of(help_of(program, monkeypatch, capsys))
    (tmp_path / "data").mkdir()
    for name in ("sample", "Synth90k"):
        (tmp_path / "data" / name).symlink_to(sample if name == "sample" else sample / name)
    environment = {
        "PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1",
        "PYTORCH_TRAIN_DATASET": str(sample), "PYTORCH_TRAIN_CHECKPOINT": str(tmp_path / "checkpoints"),
    }  # fmt: skip
    results = [] if program == "models.prepare" else ["--results", str(tmp_path / "runs")]
    done = subprocess.run(
        [sys.executable, *command[1:], *results], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
