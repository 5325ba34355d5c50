"""What the tests share: a small rendered sample, and a way to run the real scripts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.support import ROOT

# A shell's background job begins with Ctrl-C ignored, and so would everything that the tests start from one.
signal.signal(signal.SIGINT, signal.default_int_handler)

torch.set_num_threads(1)  # small work on a shared machine: threads that wait for each other cost more than they give


@pytest.fixture(scope="session")
def sample(tmp_path_factory) -> Path:
    """The folder above a rendered Synth90k/ of 200 images: 120 to train on, 40 to validate, 40 to test."""
    from models import render

    out = tmp_path_factory.mktemp("sample")
    options = ["--out", str(out), "--count", "200", "--seed", "7", "--split", "0.6/0.2/0.2", "--workers", "1"]
    assert not render.main([*options, "--style", "plain"])
    return out


@pytest.fixture
def told_to_docker(tmp_path, monkeypatch) -> Path:
    """The file in which a shell that stands in for Docker, first in PATH, writes the words of the last call."""
    shim, notes = tmp_path / "bin" / "docker", tmp_path / "told.json"
    shim.parent.mkdir()
    shim.write_text(
        "#!/usr/bin/env bash\n"
        'if [[ $1 == image ]]; then echo "${NO_IMAGE-${IMAGE_SAYS-sha256:feed}}"; exit ${NO_IMAGE+1}; fi\n'
        f'{sys.executable} -c "import json, sys; json.dump(sys.argv[2:], open(sys.argv[1], chr(119)))" {notes} "$@"\n'
    )
    shim.chmod(0o755)
    monkeypatch.setenv("PATH", f"{shim.parent}:{os.environ['PATH']}")
    return notes


@pytest.fixture
def surroundings(tmp_path, sample) -> dict[str, str]:
    """An environment in which scripts use this Python, the sample, and folders of their own."""
    keep = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    return {
        **keep,
        "CRNN_PYTHON": sys.executable,
        "PYTORCH_TRAIN_DATASET": str(sample),
        "PYTORCH_TRAIN_CHECKPOINT": str(tmp_path / "checkpoints"),
        "OMP_NUM_THREADS": "1",
    }


@pytest.fixture
def script(surroundings, tmp_path):
    """script("CRNN_Infer", "--steps", "2", DEVICE="CPU") runs run_scripts/CRNN_Infer.sh and gives what it did."""

    def run(name: str, *options: str, timeout: float = 120, **environment: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            ["bash", str(ROOT / "run_scripts" / f"{name}.sh"), *options],
            env={**surroundings, **environment},
            cwd=tmp_path,  # scripts work from anywhere
            capture_output=True,
            text=True,
            timeout=timeout,
        )

    return run
