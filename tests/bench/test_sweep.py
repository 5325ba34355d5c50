"""Sweeps whose runs are small programs that end in every way a run can."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from bench import report, sweep
from bench.errors import UserError
from bench.machine.processes import Ended, classify_end
from tests.support.records import make_record

NAME = "CRNN_FP32_{1,2}CPU_Train"


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("CRNN_{FP32,AMP}_{1,2}CPU_Train", ["FP32_1CPU", "FP32_2CPUs", "AMP_1CPU", "AMP_2CPUs"]),
        ("CRNN_FP32_{1..3}GPU_Infer", ["FP32_1GPU", "FP32_2GPUs", "FP32_3GPUs"]),
        ("CRNN_FP32_1CPU_Infer", ["FP32_1CPU"]),
    ],
)
def test_braces_expand_as_in_bash(pattern, names):
    task = pattern.rpartition("_")[2]
    assert sweep.expand_runs([pattern, pattern]) == [f"CRNN_{name}_{task}" for name in names]


@pytest.mark.parametrize("pattern", ["CRNN_{FP32_1CPU_Train", "CRNN_{A,{B}}_1CPU_Train", "CRNN_{FP8,FP32}_1CPU_Train"])
def test_a_broken_pattern_is_one_line(pattern):
    with pytest.raises(UserError):
        sweep.expand_runs([pattern])


@pytest.mark.parametrize(
    ("code", "said", "status"),
    [
        (1, "RuntimeError: [enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory", "oom"),
        (1, "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB\nrank 0 ended", "oom"),
        (-9, "", "oom"),
        (1, "step 7: the loss is not finite", "nan"),
        (2, "models.launch: error: 4 MLU asked for", "crash"),
        (0, "", "crash"),  # an end without a record is no success
    ],
)
def test_ends_are_told_apart(code, said, status):
    assert classify_end(code, said, []).status == status


def test_a_record_that_diverged_is_nan(tmp_path):
    path = make_record(status="diverged", status_reasons=["loss is nan at step 3"]).save(tmp_path)
    if "diverged" not in path.read_text():  # a status that follows from the series is not taken from the test
        pytest.skip("this schema derives the status")
    ended = classify_end(0, "", [path])
    assert (ended.status, ended.reason) == ("nan", "loss is nan at step 3")


@pytest.fixture
def matrix(tmp_path, monkeypatch):
    """matrix(words...) sweeps NAME into tmp_path; `ends` says how each run ends, `started` what was started."""
    started, ends = [], {}

    def start(run, options, results, timeout_s):
        started.append((run, options))
        return ends.get(run) or Ended("ok", record=str(make_record().save(Path(results))))

    monkeypatch.setattr(sweep, "start_run", start)

    def run(*words) -> int:
        with pytest.raises(SystemExit) as ended:
            sweep.main([NAME, "--results", str(tmp_path), *words])
        return ended.value.code

    run.started, run.ends = started, ends
    return run


def test_a_failure_is_survived_and_becomes_a_row(matrix, tmp_path, capsys):
    matrix.ends["CRNN_FP32_1CPU_Train"] = Ended("oom", "no memory left")
    assert matrix() == 1
    assert [run for run, _ in matrix.started] == ["CRNN_FP32_1CPU_Train", "CRNN_FP32_2CPUs_Train"]
    capsys.readouterr()
    report.main([str(tmp_path), "--json", str(tmp_path / "rows.out")])
    rows = json.loads((tmp_path / "rows.out").read_text())["rows"]
    assert [(row["status"], row["notes"]) for row in rows] == [("ok", []), ("oom", ["no memory left"])]


def test_a_sweep_goes_on_where_it_stopped(matrix, tmp_path):
    matrix.ends["CRNN_FP32_2CPUs_Train"] = Ended("crash", "x")
    matrix("--", "--steps", "5")
    assert matrix("--", "--steps", "5") == 1
    assert len(matrix.started) == 2
    matrix.ends.clear()
    assert matrix("--retry", "--", "--steps", "5") == 0
    assert [run for run, _ in matrix.started[2:]] == ["CRNN_FP32_2CPUs_Train"]
    assert list(tmp_path.glob("*.failure")) == []
    assert matrix("--", "--steps", "6") == 0  # other options: another sweep
    assert len(matrix.started) == 5


def test_a_state_cut_short_loses_one_run_only(matrix, tmp_path, capsys):
    matrix()
    state = tmp_path / "sweep.jsonl"
    state.write_text(state.read_text()[:-20])
    matrix()
    assert [run for run, _ in matrix.started[2:]] == ["CRNN_FP32_2CPUs_Train"]
    assert "a line is cut short" in capsys.readouterr().err


@pytest.mark.parametrize(("limit", "most", "found"), [(100, 4096, 100), (0, 64, 0), (1, 64, 1), (5000, 64, 64)])
def test_the_largest_batch_is_found_to_within_an_eighth(limit, most, found):
    tried = []

    def fits(batch):
        tried.append(batch)
        return batch <= limit

    batch = sweep.largest_batch(fits, most)
    assert batch <= limit
    assert batch >= found * 0.875
    assert max(tried) <= most
    assert len(tried) < 14


def test_auto_batch_runs_at_what_it_found(matrix, monkeypatch):
    monkeypatch.setattr(sweep, "fits_in_memory", lambda *_: lambda batch: batch <= 48)
    assert matrix("--auto-batch", "512") == 0
    assert matrix.started[0][1][-2:] == ["--batch-size", "48"]


def saturating(rates, most=4096, gain=0.05):
    tried = []

    def rate(batch):
        tried.append(batch)
        return rates.get(batch)

    return sweep.saturating_batch(rate, most, gain), tried


def test_the_batch_where_throughput_stops_growing_is_found():
    card = {8: 900.0, 16: 1800.0, 32: 3500.0, 64: 6000.0, 128: 8000.0, 256: 8300.0, 512: 8350.0, 1024: 8400.0}
    assert saturating(card) == (128, [8, 16, 32, 64, 128, 256, 512])  # two that disappoint end it
    dip = {8: 900.0, 16: 1800.0, 32: 1700.0, 64: 3600.0}  # chance at 32; 128 does not fit
    assert saturating(dip) == (64, [8, 16, 32, 64, 128])
    assert saturating({}) == (0, [8])
    assert saturating(card, most=16) == (16, [8, 16])


def test_auto_batch_with_a_gain_runs_there(matrix, monkeypatch):
    monkeypatch.setattr(sweep, "rate_at", lambda *_: lambda batch: min(batch, 64) * 10.0)
    assert matrix("--auto-batch", "512", "--gain", "0.05") == 0
    assert matrix.started[0][1][-2:] == ["--batch-size", "64"]


def test_auto_batch_stops_at_a_failure_that_is_not_memory(matrix):
    matrix.ends["CRNN_FP32_1CPU_Train"] = Ended("crash", "no such option")
    matrix.ends["CRNN_FP32_2CPUs_Train"] = Ended("oom", "no memory")
    assert matrix("--auto-batch", "512") == 1


def test_a_run_that_hangs_is_ended_with_its_children(monkeypatch, tmp_path):
    """The real start_run(), with a script that leaves a child behind in place of run.sh."""
    script = tmp_path / "run.sh"
    script.write_text(f"(sleep 3; touch '{tmp_path}/outlived') &\nsleep 60\n")
    monkeypatch.setattr(sweep, "RUN_SCRIPT", script)
    began = time.monotonic()
    ended = sweep.start_run("CRNN_FP32_1CPU_Train", [], tmp_path, timeout_s=1)
    assert (ended.status, ended.reason) == ("timeout", "no end after 1 s")
    assert time.monotonic() - began < 20
    time.sleep(3.2)
    assert not (tmp_path / "outlived").exists()


@pytest.mark.slow
def test_a_real_matrix_runs(surroundings, tmp_path, monkeypatch):
    for name, value in surroundings.items():
        monkeypatch.setenv(name, value)
    quick = ["--steps", "3", "--warmup-steps", "1", "--batch-size", "4"]
    with pytest.raises(SystemExit) as ended:
        sweep.main([NAME, "--results", str(tmp_path), "--", *quick])
    assert ended.value.code == 0
    assert len(list(tmp_path.glob("*.json"))) == 2


def test_trainings_leave_their_checkpoints_beside_the_records_and_may_be_repeated(tmp_path):
    own = ["--checkpoints", str(tmp_path / "checkpoints"), "--overwrite"]
    assert sweep.own_checkpoints("CRNN_FP32_5S_1CPU_Train", tmp_path, ["--batch-size", "4"]) == own
    assert sweep.own_checkpoints("CRNN_FP32_1CPU_Infer", tmp_path, []) == []
    assert sweep.own_checkpoints("CRNN_FP32_5S_1CPU_Train", tmp_path, ["--checkpoints=ck"]) == []


def test_repeats_go_round_the_matrix_and_each_is_done_once(matrix, tmp_path, capsys):
    assert matrix("--repeats", "2") == 0
    one, two = "CRNN_FP32_1CPU_Train", "CRNN_FP32_2CPUs_Train"
    assert [run for run, _ in matrix.started] == [one, two, one, two]
    assert "[3/4] CRNN_FP32_1CPU_Train, repeat 2" in capsys.readouterr().out
    assert matrix("--repeats", "3") == 0
    assert len(matrix.started) == 6
    assert "repeat 2: ok, done in an earlier sweep into this folder" in capsys.readouterr().out


def test_a_failed_repeat_stays_a_row_beside_one_that_ran(matrix, tmp_path):
    matrix.ends["CRNN_FP32_1CPU_Train"] = Ended("oom", "no memory left")
    matrix()
    assert matrix("--repeats", "2") == 1
    assert sorted(path.name for path in tmp_path.glob("*.failure")) == [
        "CRNN_FP32_1CPU_Train.2.failure",
        "CRNN_FP32_1CPU_Train.failure",
    ]
