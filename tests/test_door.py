"""The door for other programs: light to open, and the same room behind it as `models`."""

from __future__ import annotations

import subprocess
import sys

import pytest

import crnn_bench
import models
from models.reading.recogniser import Reading, Recogniser
from tests.support import ROOT


@pytest.mark.parametrize("package", [crnn_bench, models])
def test_recogniser_and_reading_are_behind_it(package):
    assert package.Recogniser is Recogniser and package.Reading is Reading
    assert package.__all__ == ["Reading", "Recogniser"]
    with pytest.raises(AttributeError):
        _ = package.Recognizer


def test_importing_it_takes_no_torch():
    code = "import sys, crnn_bench; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_it_is_in_the_image():
    assert "!crnn_bench" in (ROOT / ".dockerignore").read_text().splitlines()


def test_another_program_opens_it_from_its_own_folder(tmp_path):
    code = "from crnn_bench import Recogniser; print(Recogniser.__name__)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True
    )
    assert done.stdout == "Recogniser\n", done.stderr
