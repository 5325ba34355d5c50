"""demo.ipynb runs from top to bottom, cell after cell in one namespace, as a kernel would run it."""

from __future__ import annotations

import ast
import json

import pytest
from PIL import Image

from models import Reading
from tests.support import ROOT

NOTEBOOK = json.loads((ROOT / "demo.ipynb").read_text(encoding="utf8"))
CODE = [cell for cell in NOTEBOOK["cells"] if cell["cell_type"] == "code"]


def run(source: str, names: dict) -> object:
    """Run a cell and give what its last expression is, which Jupyter would show."""
    tree = ast.parse(source)
    shown = ast.Expression(tree.body.pop().value) if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "demo.ipynb", "exec"), names)
    return eval(compile(shown, "demo.ipynb", "eval"), names) if shown else None


@pytest.fixture
def cells_run(tmp_path, monkeypatch, capsys):
    """Everything that the cells defined and showed, without a trained checkpoint."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("PYTORCH_TRAIN_CHECKPOINT", str(tmp_path / "none"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    names = {"__name__": "__main__"}
    shown = [run("".join(cell["source"]), names) for cell in CODE]
    return names, shown, capsys.readouterr().out


def test_it_runs_from_top_to_bottom(cells_run):
    names, shown, said = cells_run
    assert len(names["readings"]) == len(names["images"]) == 6
    assert all(isinstance(reading, Reading) for reading in names["readings"])
    assert set(names["texts"]["lexicon"]) <= set(names["truths"])
    assert sum(isinstance(value, Image.Image) for value in shown) == 3
    assert "1-NED" in said and " => " in said


def test_it_is_kept_with_the_outputs_of_one_run():
    """From top to bottom, none left out, none that failed; a page of GitHub then shows what people would see."""
    assert [cell["execution_count"] for cell in CODE] == list(range(1, len(CODE) + 1))
    outputs = [output for cell in CODE for output in cell["outputs"]]
    assert not [output for output in outputs if output["output_type"] == "error"]
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 3
    said = "".join("".join(output.get("text", "")) for output in outputs)
    assert "1-NED" in said and " => " in said and "/root" not in said
    assert NOTEBOOK["nbformat"] == 4 and len({cell["id"] for cell in NOTEBOOK["cells"]}) == len(NOTEBOOK["cells"])
