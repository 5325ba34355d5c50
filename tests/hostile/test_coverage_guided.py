"""Five minutes of coverage-guided inputs for what reads a stranger's bytes; `CRNN_FUZZ_SECONDS` of each reader."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from tests.support import ROOT

SECONDS = int(os.environ.get("CRNN_FUZZ_SECONDS", "60"))
pytestmark = [pytest.mark.slow, pytest.mark.timeout(SECONDS + 300)]


@pytest.mark.parametrize("reader", ["image", "listing", "form", "body", "record"])
def test_nothing_but_a_refusal_comes_of_it(reader, tmp_path):
    pytest.importorskip("atheris")
    command = [sys.executable, "-m", "tests.hostile.coverage_guided", reader, str(SECONDS), str(tmp_path / "fuzz")]
    path = os.pathsep.join([str(ROOT), *sys.path])  # atheris may lie in a folder of its own
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
                          capture_output=True, text=True, errors="replace", timeout=SECONDS + 250)  # fmt: skip
    said = done.stderr[-3000:]
    left = [path for path in (tmp_path / "fuzz").glob("*-*") if path.is_file()]
    assert done.returncode == 0 and not left, said
    assert int(re.search(r"number_of_executed_units: (\d+)", done.stderr)[1]) > 1000, said
    print(reader, re.findall(r"stat::(\w+):\s+(\d+)", done.stderr))
