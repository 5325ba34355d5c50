"""Who may import whom: the architecture, as rules a machine checks."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import ROOT

NETWORK = ["models/crnn.py", *sorted(str(p.relative_to(ROOT)) for p in ROOT.glob("models/network/*.py"))]
KNOWS_DEVICES_OR_FILES = (
    "bench.machine.device",
    "bench.machine.world",
    "models.dataset",
    "models.data",
    "models.run.context",
    "models.train",
    "models.test",
)


def imports(path: Path) -> set[str]:
    """Every module a file imports, wherever the statement stands."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names |= {node.module or ""} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def under(names: set[str], *packages: str) -> list[str]:
    return sorted(n for n in names if any(n == p or n.startswith(f"{p}.") for p in packages))


@pytest.mark.parametrize("path", sorted(ROOT.glob("bench/**/*.py")), ids=lambda p: p.name)
def test_the_instrument_does_not_know_the_subject(path):
    assert not under(imports(path), "models")


@pytest.mark.parametrize("path", NETWORK)
def test_the_network_knows_no_files_and_no_devices(path):
    assert not under(imports(ROOT / path), *KNOWS_DEVICES_OR_FILES)


def test_data_knows_no_network():
    for path in [ROOT / "models/dataset.py", *ROOT.glob("models/data/**/*.py")]:
        assert not under(
            imports(path), "models.crnn", "models.network", "models.network.network", "models.run.context"
        ), path


@pytest.mark.parametrize("module", ["bench.records.record", "bench.report", "bench.verify", "bench.records.run_name"])
def test_judging_needs_no_torch(module):
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_functions_stay_small():
    """None over 40 lines; the median about ten."""
    lengths = {
        f"{path.relative_to(ROOT)}:{node.name}": node.end_lineno - node.lineno + 1
        for folder in ("models", "bench", "benchmarks")
        for path in ROOT.glob(f"{folder}/**/*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert {name: length for name, length in lengths.items() if length > 40} == {}
    assert sorted(lengths.values())[len(lengths) // 2] <= 11
