"""The sitting at a card, its cases tried on the CPU: a record and a row for what ran, a word for what did not."""

import re
import subprocess
import sys
import tarfile
import time

import pytest

from bench.errors import UserError
from bench.records.checks import validate_file
from benchmarks import gpu, gpu_peers
from benchmarks.card import check, gather
from benchmarks.gpu import CASES, Case, GpuOptions, Sitting
from models.run.options import Infer, Train, parse


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_case_is_a_command_that_its_program_understands(case, tmp_path):
    (tmp_path / case.data).mkdir(exist_ok=True)
    words = Sitting(GpuOptions(words=tmp_path)).words(case)
    parse({"Train": Train, "Infer": Infer}[case.task], words, "test")


def test_names_of_cases_differ():
    assert len({case.name for case in CASES}) == len(CASES)


def test_a_case_that_no_longer_fits_is_named_and_left_out(tmp_path):
    sitting = Sitting(GpuOptions(out=tmp_path, work=tmp_path, seconds=30))
    assert sitting.outcome(Case("Train", "AMP", 64, expected_s=60)).startswith("left out: 2")


def test_a_case_that_a_check_found_worthless_is_left_out_with_the_reason(tmp_path):
    sitting = Sitting(GpuOptions(out=tmp_path, work=tmp_path))
    sitting.spoilt = [check.Verdict("graph AMP", True, "losses differ", 1.0, "AMP.*graph")]
    assert (
        sitting.outcome(Case("Train", "AMP", 64, ("--graph",))) == "left out: check graph AMP is wrong: losses differ"
    )


def test_every_check_names_cases_that_there_are():
    for name, _, spoils in check.CHECKS:
        assert spoils == check.NONE or any(re.search(spoils, case.name) for case in CASES), name


def forked(work, tmp_path, timeout_s=20.0):
    log = tmp_path / "log"
    return gpu.run_forked(work, log, timeout_s), log.read_text()


def test_a_forked_case_leaves_its_output_its_exit_code_and_no_process(tmp_path):
    assert forked(lambda: print("measured"), tmp_path) == (0, "measured\n")
    code, said = forked(lambda: 1 / 0, tmp_path)
    assert code == 1 and said.splitlines()[-1] == "ZeroDivisionError: division by zero"
    assert forked(lambda: sys.exit(2), tmp_path)[0] == 2
    began = time.monotonic()
    assert forked(lambda: subprocess.run(["sleep", "60"]), tmp_path, 0.5)[0] is None
    assert time.monotonic() - began < 10


def test_a_sitting_leaves_tables_records_and_logs_in_few_files(tmp_path, monkeypatch, capsys):
    """On a CPU: one case runs, one cannot (a CUDA graph), and the sitting goes on. In a process of its own, as torch in
    this one has threads by now.
    """
    program = (
        "from benchmarks import gpu; from benchmarks.gpu import Case; "
        "gpu.CASES = (Case('Train', 'FP32', 2, ('--graph',)), Case('Train', 'FP32', 2)); "
        "gpu.FEWEST = 20; gpu.WARMUP = 2; gpu.TRIAL_STEPS = 12; gpu.main()"
    )
    words = [
        "--out",
        tmp_path / "out",
        "--work",
        tmp_path / "work",
        "--device",
        "CPU",
        "--images",
        "64",
        "--check",
        "false",
    ]
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, words), "--steps-s", "0.1", "--seconds", "200"],
        cwd=gpu.ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "--graph needs a GPU, and this is CPU" in done.stdout
    [row] = [line for line in (tmp_path / "out/table.md").read_text().splitlines() if "FP32" in line]
    assert "Train FP32 2 plain" in row
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["records.tar.gz", "report.md", "table.md"]
    with tarfile.open(tmp_path / "out/records.tar.gz") as tar:
        names = tar.getnames()
        [record] = [name for name in names if name.endswith(".json")]
        tar.extract(record, tmp_path, filter="data")
    assert validate_file(tmp_path / record) == []
    assert "logs/Train-FP32-2-plain.log" in names


def test_the_wheels_of_a_bare_machine_are_at_the_locks_versions():
    lock = set(re.findall(r"^(\S+==\S+)", (gpu.ROOT / "requirements.lock").read_text(), re.MULTILINE))
    pins = re.findall(r"^(\S+==\S+)", gather.REQUIREMENTS.read_text(), re.MULTILINE)
    assert pins and set(pins) <= lock


def test_more_than_may_travel_is_refused_with_what_takes_how_much(tmp_path, sample):
    words = ["--out", tmp_path / "card", "--words", sample, "--wheels", "false", "--most-mb", "0.01"]
    with pytest.raises(UserError, match=r"words [\d.]+ MB: more than --most-mb 0.01"):
        gather.main(list(map(str, words)))


def test_peers_that_are_missing_are_named_and_ours_are_measured(capsys):
    gpu_peers.main(["--device", "CPU", "--batch", "2", "--rounds", "1", "--steps", "1"])
    said = capsys.readouterr().out
    assert "missing: meijieru" in said
    assert "ours, AMP" in said
