"""Writing where there may be no room."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench import files
from bench.errors import UserError
from models.training.progress import ScalarWriter
from tests.support import ROOT


def test_a_full_disk_says_how_much_is_needed_and_where(tmp_path):
    full = OSError(errno.ENOSPC, "No space left on device")
    said = files.write_error_reason(full, 67_100_000, tmp_path)
    assert said.startswith(f"No space left on device: 67.1 MB are needed in {tmp_path}, ")
    assert (
        files.write_error_reason(PermissionError(errno.EACCES, "Permission denied"), 1, tmp_path) == "Permission denied"
    )


def test_a_folder_that_cannot_be_written_is_refused_before_the_run(tmp_path):
    (tmp_path / "file").touch()
    files.refuse_unwritable(tmp_path / "not" / "yet", "--results")
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]
    with pytest.raises(UserError, match="choose another --results"):
        files.refuse_unwritable(tmp_path / "file" / "below", "--results")


def test_a_log_on_a_full_disk_stops_nothing():
    program = "from bench.files import say; say('one'); say('two'); raise SystemExit(7)"
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 7
    assert done.stderr == "warning: the log cannot be written: No space left on device\n"


def test_a_board_that_cannot_be_written_is_given_up_and_that_is_said(tmp_path, capsys):
    (tmp_path / "file").touch()
    board = ScalarWriter(tmp_path / "file" / "below")
    board.add(3, loss=1.0)
    board.add(4, loss=1.0)
    assert capsys.readouterr().err.count("no more TensorBoard from step 3 on") == 1


def test_boards_of_two_processes_in_one_second_are_two_files(tmp_path):
    ScalarWriter(tmp_path).add(1, loss=1.0)
    [written] = tmp_path.iterdir()
    assert written.name.endswith(f".{os.getpid()}") and written.stat().st_size > 50
