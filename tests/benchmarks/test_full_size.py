"""Opening and shuffling take the same memory whatever the size; at Synth90k's own size with -m slow."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize("records", [20_000, pytest.param(9_000_000, marks=pytest.mark.slow)])
def test_a_large_set_takes_no_more_memory_and_resumes_exactly(tmp_path, records):
    command = [sys.executable, "benchmarks/full_size.py", "--records", str(records), "--folder", str(tmp_path)]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[2:]
    rows = {line[:58].strip(): float(line[58:].split()[0].replace(",", "")) for line in printed}
    assert rows["memory of a worker after opening"] < 50
    assert rows["memory of its own after 100 shuffled batches"] < 50
    assert rows["the epoch's order, in the main process"] == pytest.approx(records * 4 / 1e6, abs=0.01)
    assert rows["samples left after a resume at 3/4 that were seen before"] == 0
    assert rows["open"] >= 0  # how long it takes is printed, for docs/data.md; a slow disk is no error
