"""The attacks of tests/faults/instrument.py that need no run: each is caught."""

from __future__ import annotations

import shutil

import pytest

from tests.faults import instrument

SLOW = ("test images exchanged", "ONEDNN")  # start processes: `python -m tests.faults.instrument`


@pytest.mark.parametrize("name", [name for name in instrument.ATTACKS if not name.startswith(SLOW)])
def test_an_attack_is_caught(name, tmp_path):
    if name.startswith("program: ") and not shutil.which("ssh-keygen"):
        pytest.skip("no ssh-keygen here")
    assert instrument.ATTACKS[name](tmp_path)
