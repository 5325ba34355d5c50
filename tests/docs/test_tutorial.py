"""docs/tutorial.md, followed command by command, with fewer images and steps."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from models.rendering.styles import render
from tests.support import ROOT

BLOCKS = re.findall(r"```bash\n(.*?)```", (ROOT / "docs" / "tutorial.md").read_text(encoding="utf8"), re.DOTALL)
FEWER = {
    "--count 100000": "--count 200 --workers 1",
    "bash run_scripts/setup.sh": "",  # it has a test of its own
    "models/weights/": f"{ROOT}/models/weights/",
    "--steps 1500": "--results runs --steps 4",
    "AMP_1500S": "AMP_4S",
    "--epochs 5": "--results runs --epochs 1",
    "AMP_5E": "AMP_1E",
    "run_scripts/": f"{ROOT}/run_scripts/",
    ".venv/bin/python": sys.executable,
    "CRNN_Infer.sh": "CRNN_Infer.sh --min-steps 1 --min-seconds 0 --latency-runs 2 --results runs",
    "models.calibrate mine.safetensors": "models.calibrate mine.safetensors --count 100",
    "--weights mine.safetensors": "--weights mine.safetensors --port 0 & sleep 15; kill -TERM $!; wait $!",
}


def photos(folder: Path, words: list[str]) -> None:
    """Drawn words in place of a user's photos."""
    folder.mkdir()
    rng = np.random.default_rng(5)
    for number, word in enumerate(words, 1):
        Image.fromarray(render(word, rng, "hard")).save(folder / f"{number:04}.jpg")
    (folder / "labels.tsv").write_text("".join(f"{n:04}.jpg\t{word}\n" for n, word in enumerate(words, 1)))


@pytest.mark.slow
def test_the_tutorial_can_be_followed(tmp_path):
    photos(tmp_path / "my_words", [f"{word}{n}" for n in range(20) for word in ("alpha", "beta", "gamma")])
    commands = "".join(BLOCKS)
    for said, done in FEWER.items():
        assert said in commands
        commands = commands.replace(said, done)
    environment = {
        **os.environ, "PYTHONPATH": str(ROOT), "CRNN_PYTHON": sys.executable, "OMP_NUM_THREADS": "1", "DEVICE": "CPU",
        "PYTORCH_TRAIN_CHECKPOINT": str(tmp_path / "checkpoints"),
    }  # fmt: skip
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", commands], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    for name in ("data/mine", "mistakes.html", "read.csv", "shown/0001.read.png", "mine.onnx", "mine.safetensors"):
        assert (tmp_path / name).exists(), name
    assert "onnxruntime: 60 of 60 texts as torch" in done.stdout
    assert "mine.safetensors: http://127.0.0.1:" in done.stdout
