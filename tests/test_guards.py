"""The guards that `python -m tests.guards` takes out are there, and every promise of SECURITY.md has one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests import guards
from tests.support import ROOT

PROMISES = re.findall(r"^\| (?!what comes in|---)([^|]+) \|", (ROOT / "SECURITY.md").read_text(encoding="utf8"), re.M)


@pytest.mark.parametrize("guard", guards.GUARDS, ids=lambda guard: f"{guard.file}: {guard.name}")
def test_what_is_taken_out_is_there_once(guard):
    assert (ROOT / guard.file).read_text(encoding="utf8").count(guard.old) == 1
    assert guard.old != guard.new
    assert [file for file in guard.tests.split(" -k ")[0].split() if not (ROOT / file).is_file()] == []


def test_every_promise_has_a_guard():
    assert len(PROMISES) > 8
    assert [row for row in PROMISES if not any(row.startswith(guard.row) for guard in guards.GUARDS)] == []
    assert [guard.row for guard in guards.GUARDS if not any(row.startswith(guard.row) for row in PROMISES)] == []


def test_a_guard_that_nobody_misses_is_told(tmp_path, monkeypatch, capsys):
    """In a copy of two files: one test looks at the guard, the other does not."""
    for name, body in (("looks", "assert guard.positive(-1) is False"), ("looks_away", "assert guard.positive(1)")):
        (tmp_path / f"test_{name}.py").write_text(f"import guard\n\ndef test_{name}():\n    {body}\n")
    (tmp_path / "guard.py").write_text("def positive(x):\n    return x > 0\n")
    both = [guards.Guard("x", name, "guard.py", "return x > 0", "return True", f"test_{name}.py")
            for name in ("looks", "looks_away")]  # fmt: skip
    monkeypatch.setattr(guards, "GUARDS", both)
    monkeypatch.setattr(guards, "copied", lambda place: Path(tmp_path))
    assert guards.main() == 1
    said = capsys.readouterr().out
    assert "| x | looks | test_looks |" in said and "| x | looks_away | **none** |" in said
