"""MLPerf's own load generator drives the small sample. Without the extra these tests are skipped."""

import subprocess
import sys
from typing import get_args

import pytest

from bench.errors import UserError
from bench.machine import loadgen as driver
from bench.records.checks import validation_errors
from bench.records.record import Record
from models import loadgen, train
from tests.support import ROOT

SUMMARY = """\
================================================
MLPerf Results Summary
================================================
SUT name : PySUT
Scenario : Server
Mode     : PerformanceOnly
Completed samples per second    : 18.25
Result is : INVALID
  Performance constraints satisfied : NO
Recommendations:
 * Reduce target QPS to improve latency.
Early Stopping Result:
 * Run unsuccessful.

================================================
Additional Stats
================================================
99.00 percentile latency (ns)   : 80987361
 * not a reason
"""


def test_a_summary_gives_verdict_reasons_and_numbers():
    found = driver.read_summary(SUMMARY)
    assert found["verdict"] == "INVALID"
    assert found["reasons"] == ["Reduce target QPS to improve latency.", "Run unsuccessful."]
    assert found["metrics"]["99.00 percentile latency (ns)"] == 80987361.0
    assert found["metrics"]["Scenario"] == "Server"


def test_a_valid_one_needs_no_reasons_and_an_accuracy_run_has_no_verdict():
    assert driver.read_summary(SUMMARY.replace("INVALID", "VALID"))["reasons"] == []
    assert driver.read_summary("\nNo warnings encountered during test.\n")["verdict"] is None


def test_without_the_extra_one_line_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "mlperf_loadgen", None)
    with pytest.raises(UserError, match="pip install mlcommons-loadgen"):
        driver.import_loadgen()


@pytest.fixture(scope="module")
def checkpoint(sample, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    quick = ["--device", "CPU", "--batch-size", "8", "--steps", "1", "--warmup-steps", "0"]
    train.main(["--dataset", str(sample), *quick, "--checkpoints", str(folder / "ck"), "--results", str(folder)])
    return next(folder.rglob("best.pt"))


def load(checkpoint, sample, tmp_path, *options: str) -> Record:
    pytest.importorskip("mlperf_loadgen")
    quick = ["--device", "CPU", "--batch-size", "8", "--min-seconds", "0.5", "--min-queries", "3"]
    places = ["--dataset", str(sample), "--checkpoint", str(checkpoint), "--results", str(tmp_path)]
    status = 0
    try:
        loadgen.main([*quick, *places, *options])
    except SystemExit as exit_:  # the machine was too busy, or too fast, for the rate that was asked
        status = exit_.code
    [path] = tmp_path.glob("*.json")
    record = Record.load(path)
    assert status == (record.loadgen["verdict"] == "INVALID")
    assert validation_errors(record) == []
    return record


@pytest.mark.parametrize("scenario", get_args(driver.Scenario))
def test_every_scenario_ends_in_a_verdict_and_leaves_its_logs(scenario, checkpoint, sample, tmp_path):
    record = load(checkpoint, sample, tmp_path, "--scenario", scenario, "--queries-per-s", "8")
    assert record.loadgen["verdict"] in ("VALID", "INVALID")
    assert record.loadgen["scenario"] == record.cell["scenario"] == scenario
    assert (tmp_path / record.loadgen["logs"] / "mlperf_log_detail.txt").stat().st_size > 0
    asked = sum(record.series[0]["images"])
    assert asked >= {"Offline": 4, "MultiStream": 24}.get(scenario, 3)
    if scenario == "SingleStream":
        assert set(record.series[0]["images"]) == {1}


def test_accuracy_is_that_of_the_whole_split_from_loadgens_own_log(checkpoint, sample, tmp_path):
    record = load(checkpoint, sample, tmp_path, "--test", "accuracy")
    assert record.accuracy["n"] == record.dataset["n"] == 40
    assert record.loadgen["mode"] == "AccuracyOnly"


def test_it_can_be_run_again_from_the_file_beside_its_record(checkpoint, sample, tmp_path):
    record = load(checkpoint, sample, tmp_path / "first", "--test", "accuracy")
    [options] = (tmp_path / "first").glob("*.yaml")
    assert f"python -m models.loadgen --config {options}" in options.read_text()
    loadgen.main(["--config", str(options), "--results", str(tmp_path / "again")])
    [path] = (tmp_path / "again").glob("*.json")
    assert Record.load(path).accuracy["word_accuracy"] == record.accuracy["word_accuracy"]
    assert Record.load(path).cell == record.cell


BROKEN = """
import subprocess
import sys
from pathlib import Path
from typing import get_args
from models import loadgen
def fail(*_): raise RuntimeError("the network broke")
loadgen.SystemUnderTest.complete = fail
loadgen.main(sys.argv[1:])
"""


def test_a_failure_while_answering_ends_the_program_and_leaves_a_record(checkpoint, sample, tmp_path):
    """LoadGen itself would wait for its answers for ever."""
    pytest.importorskip("mlperf_loadgen")
    places = ["--dataset", str(sample), "--checkpoint", str(checkpoint), "--results", str(tmp_path), "--device", "CPU"]
    command = [sys.executable, "-c", BROKEN, *places, "--batch-size", "8"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert done.stderr.strip().endswith("RuntimeError: the network broke")
    [path] = tmp_path.glob("*.json")
    assert Record.load(path).status == "crash"
