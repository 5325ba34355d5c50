"""The fault commands that are quick enough for every day; the whole campaigns are in docs/reliability.md."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support import ROOT


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("kill", ["--times", "3"]),
        ("kill", ["--what", "prepare", "--times", "4"]),
        ("surroundings", ["--only", "writers"]),
        ("disk", ["--only", "limit"]),
    ],
    ids=lambda value: value if isinstance(value, str) else value[-1],
)
def test_nothing_is_lost(program, words):
    done = subprocess.run(
        [sys.executable, "-m", f"tests.faults.{program}", *words], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1].endswith("lost 0")
