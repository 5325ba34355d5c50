"""What README names exists. Its commands: test_commands.py."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.support import ROOT

README = (ROOT / "README.md").read_text(encoding="utf8")


def test_every_file_it_names_exists():
    named = re.findall(r"`?((?:run_scripts|models|bench|docker|results|tests)/[\w./]+\.\w+)", README)
    assert named
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_every_link_leads_somewhere():
    links = [link for link in re.findall(r"\]\(([^)]+)\)", README) if not link.startswith("http")]
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_ruff_finds_nothing():
    done = subprocess.run([sys.executable, "-m", "ruff", "check", str(ROOT)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_nothing_needs_more_than_python_3_10():
    """Syntax and standard library; what MLU images bring is 3.10 to 3.12."""
    command = ["vermin", "--target=3.10-", "--violations", "--no-tips", "bench", "models", "benchmarks", "tests"]
    done = subprocess.run([Path(sys.executable).parent / command[0], *command[1:]], cwd=ROOT, capture_output=True)
    assert done.returncode == 0, done.stdout.decode()
