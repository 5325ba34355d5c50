"""The sitting at a card, its cases tried on the CPU: a record and a row for what ran, a word for what did not."""

import tarfile

import pytest

from bench.errors import UserError
from benchmarks import gpu, gpu_peers
from benchmarks.gpu import CASES, Case, GpuOptions, Sitting
from models.run.options import Infer, Train, parse


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_case_is_a_command_that_its_program_understands(case, tmp_path):
    words = Sitting(GpuOptions()).words(case, tmp_path)
    parse({"Train": Train, "Infer": Infer}[case.task], [*words, "--precision", case.precision], "test")


def test_names_of_cases_differ():
    assert len({case.name for case in CASES}) == len(CASES)


def test_without_a_card_it_says_what_torch_sees(tmp_path, monkeypatch):
    monkeypatch.setattr(gpu.discovery, "inventory", lambda: {"GPU": 0, "CPU": 1})
    monkeypatch.setattr(gpu.discovery, "present", lambda name: 0)
    with pytest.raises(UserError, match=r"no GPU here: torch .* sees \{'GPU': 0"):
        gpu.main(["--out", str(tmp_path)])


def test_a_case_that_no_longer_fits_is_named_and_left_out(tmp_path, capsys):
    sitting = Sitting(GpuOptions(out=tmp_path, minutes=0.5))
    sitting.run(Case("Train", "AMP", 64, expected_s=60), tmp_path)
    assert "Train AMP 64 eager: left out" in capsys.readouterr().out
    assert sitting.rows == []


def test_a_sitting_leaves_a_table_and_its_records(tmp_path, monkeypatch, capsys):
    """On a CPU: one case runs, one cannot (a CUDA graph), and the sitting goes on."""
    cases = (Case("Train", "FP32", 4, ("--graph",)), Case("Train", "FP32", 4))
    monkeypatch.setattr(gpu, "CASES", cases)
    gpu.main(["--out", str(tmp_path), "--device", "CPU", "--steps", "3", "--pictures", "64"])
    said = capsys.readouterr().out
    assert "--graph needs a GPU, and this is CPU" in said
    [row] = [line for line in (tmp_path / "table.md").read_text().splitlines() if "FP32" in line]
    assert "Train FP32 4 eager" in row
    with tarfile.open(tmp_path / "records.tar.gz") as tar:
        assert len([name for name in tar.getnames() if name.endswith(".json")]) == 1


def test_peers_that_are_missing_are_named_and_ours_are_measured(capsys):
    gpu_peers.main(["--device", "CPU", "--batch", "2", "--rounds", "1", "--steps", "1"])
    said = capsys.readouterr().out
    assert "missing: meijieru" in said
    assert "ours, AMP" in said
