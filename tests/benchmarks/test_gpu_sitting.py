"""The sitting at a card, its cases tried on the CPU: a record and a row for what ran, a word for what did not."""

import re
import shutil
import string
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from bench.errors import UserError
from bench.records.checks import validate_file
from benchmarks import gpu, gpu_peers
from benchmarks.card import check, gather, training
from benchmarks.gpu import CASES, Case, GpuOptions, Sitting
from models.rendering import find_faces, lexicon
from models.rendering.fonts import own_coverage
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


def trained(batch, rate, *words, status="ok", precision="AMP"):
    cell = {"card": "NVIDIA H200", "batch_per_card": batch}
    record = SimpleNamespace(throughput={"images_per_s": rate}, status=status, cell=cell, record_id=f"r{batch}")
    return Case("Train", precision, batch, words), record


def test_the_smallest_batch_that_keeps_a_card_busy_is_a_line_for_the_table():
    measured = [trained(32, 9e3), trained(512, 39e3), trained(2048, 41e3), trained(8192, 80e3, "--graph")]
    measured += [trained(4096, 99e3, status="oom"), trained(32, 9e3, precision="FP32")]  # one batch says nothing
    assert gpu.batch_lines(measured) == ["crnn\tAMP\tNVIDIA H200\t512\tr512"]


def test_the_wheels_of_a_bare_machine_are_at_the_locks_versions():
    lock = set(re.findall(r"^(\S+==\S+)", (gpu.ROOT / "requirements.lock").read_text(), re.MULTILINE))
    pins = re.findall(r"^(\S+==\S+)", gather.REQUIREMENTS.read_text(), re.MULTILINE)
    assert pins and set(pins) <= lock


def test_more_than_may_travel_is_refused_with_what_takes_how_much(tmp_path, sample):
    words = ["--out", tmp_path / "card", "--words", sample, "--wheels", "false", "--most-mb", "0.01"]
    with pytest.raises(
        UserError, match=r"checkout [\d.]+ MB, words [\d.]+ MB; in all [\d.]+ MB: more than --most-mb 0.01"
    ):
        gather.main(list(map(str, words)))


@pytest.fixture
def faces(tmp_path, monkeypatch):
    """As run_scripts/chinese/faces.sh makes them, of faces that are at hand; a list of its own."""
    latin, other = find_faces("bundled")[:2]
    for name, face in (("latin/a", latin), ("chinese/b", other), ("chinese/c", latin)):
        (tmp_path / "faces" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(face.path, tmp_path / "faces" / f"{name}.ttf")
    table = tmp_path / "faces.txt"
    table.write_text("# a face\nchinese/b.ttf=3\nlatin/a.ttf+chinese/b.ttf=0.5\nchinese/none.ttf=1\nchinese/c.ttf=2\n")
    monkeypatch.setattr(training, "LINE_FACES", table)
    return tmp_path / "faces"


def inputs(tmp_path, faces, **changes):
    (tmp_path / "lines.txt").write_text("ab\n\ncab 12\n丠\n" * 4)  # the faces have no Chinese
    texts = {"words": lexicon.BUNDLED, "lines": tmp_path / "lines.txt", "faces": faces, "texts": 50, "latin_mb": 0.03}
    return training.TrainingInputs(**{**texts, **changes})


def test_a_trainings_inputs_are_faces_cut_to_their_characters_texts_and_weights(tmp_path, faces, capsys):
    out = tmp_path / "training"
    training.gather_training(inputs(tmp_path, faces, start_from=["models/weights/crnn_small.safetensors"]), out)
    said = capsys.readouterr().out
    assert len(lexicon.read_lines(out / "words.txt.xz")) == 50 and "50 of 39,561 texts" in said
    assert len(lexicon.read_lines(out / "lines.txt.xz")) == 12
    latin = find_faces(str(out / "latin"), training.LATIN & set(string.ascii_letters))
    assert 1 < len(latin) < 10 and sum(Path(face.path).stat().st_size for face in latin) <= 30_000
    assert all(own_coverage(face) <= training.LATIN for face in latin)
    assert (out / "chinese/faces.txt").read_text() == "b.woff=3\na.woff+b.woff=0.5\nc.woff=2\n"
    assert "left out: chinese/none.ttf (not there)" in said
    assert (out / "crnn_small.safetensors").is_file()


def test_faces_that_do_not_fit_are_named_and_half_of_the_inputs_is_refused(tmp_path, faces, capsys):
    training.gather_training(inputs(tmp_path, faces, lines_mb=0.018), tmp_path / "out")
    assert "left out: chinese/none.ttf (not there), chinese/c.ttf and what follows it (0)" in capsys.readouterr().out
    with pytest.raises(UserError, match=r"no face of faces\.txt"):
        training.gather_training(inputs(tmp_path, faces, lines_mb=0.001), tmp_path / "out")
    with pytest.raises(UserError, match="all three"):
        training.gather_training(inputs(tmp_path, faces, lines=None), tmp_path / "out")


def test_peers_that_are_missing_are_named_and_ours_are_measured(capsys):
    gpu_peers.main(["--device", "CPU", "--batch", "2", "--rounds", "1", "--steps", "1"])
    said = capsys.readouterr().out
    assert "missing: meijieru" in said
    assert "ours, AMP" in said
