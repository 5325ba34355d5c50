"""The weights that come with the repository read what they read when they came."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path

import pytest

from bench.records.record import Record
from models import render, weights
from models.data.charset import NAMED

# Hard words that nobody trained on: the bundled faces, a seed of their own.
WORDS = ["--style", "hard", "--count", "600", "--seed", "99", "--split", "0/0/1", "--workers", "1"]
KINDS = {"FP32": ("FP32", "eager"), "AMP": ("AMP", "eager"), "INT8": ("AMP", "openvino_int8")}
READ = {  # name -> kind -> how many of the 600
    "crnn": {"FP32": 538, "AMP": 538, "INT8": 539},
    "crnn_small": {"FP32": 531, "AMP": 530, "INT8": 530},
    "crnn_small_94": {"FP32": 528, "AMP": 527, "INT8": 529},
}
# 60 lines of Chinese in the style `lines`, drawn in faces under the Open Font License (Noto Sans and Serif CJK, LXGW
# WenKai), texts that are not in the training's list: CI has no Chinese face to draw them in.
LINES = Path(__file__).parents[2] / "data" / "chinese_lines" / "labels.tsv"
LINES_READ = {"crnn_small_chinese": {"FP32": 50, "AMP": 50}}  # name -> kind -> how many, exactly
ALLOWED = 3  # half a point: what another FreeType, JPEG decoder or torch may move


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    out = tmp_path_factory.mktemp("words")
    render.main([*WORDS, "--out", str(out)])
    return out


def test_every_shipped_file_is_held_to_a_count():
    assert READ.keys() | LINES_READ.keys() == weights.SHIPPED.keys()


@pytest.fixture
def correct(script, tmp_path):
    """correct(name, kind, options): how many images of how many the shipped weights read right."""

    def read(name: str, kind: str, *asked: str) -> tuple[int, int]:
        precision, engine = KINDS[kind]
        if engine != "eager":
            pytest.importorskip("openvino")
        short = ["--min-seconds", "0", "--min-steps", "0", "--latency-runs", "0", "--results", str(tmp_path / "runs")]
        row = ["--recipe", weights.SHIPPED[name].recipe, "--engine", engine]
        done = script("CRNN_Infer", *asked, *row, *short, DEVICE="CPU", PRECISION=precision)
        assert done.returncode == 0, done.stderr
        assert f"weights: {weights.path(name)}, which come with the repository" in done.stdout
        [file] = (tmp_path / "runs").glob("*.json")
        accuracy = Record.load(file).accuracy
        return accuracy["correct"], accuracy["n"]

    return read


@pytest.mark.parametrize("name, kind", [(name, kind) for name in READ for kind in READ[name]])
def test_no_fewer_words_are_read_than_when_they_came(name, kind, words, correct):
    charset = next(named for named, characters in NAMED.items() if characters == weights.SHIPPED[name].charset)
    right, n = correct(name, kind, "--dataset", str(words), "--data.charset", charset)
    assert n == 600
    assert right >= READ[name][kind] - ALLOWED


@pytest.mark.parametrize("name, kind", [(name, kind) for name in LINES_READ for kind in LINES_READ[name]])
def test_no_fewer_lines_are_read_than_when_they_came(name, kind, correct):
    right, n = correct(name, kind, "--sets", f"lines={LINES}", "--mode", "exact")
    assert n == 60
    assert right >= LINES_READ[name][kind] - ALLOWED


PRETENDER = """#!{bash}
[[ ${{1:-}} != */run_scripts/module.py ]] || set -- -m "${{@:2}}"
case "$*" in
  "-m bench.device --best") echo CPU ;;
  "-m models.launch ${{FAIL:-nothing}} "*) exit 3 ;;
  "-m "*) echo "$PYTORCH_TRAIN_DATASET|$*" >>"{log}" ;;
  *) exec {python} "$@" ;;
esac
"""


@pytest.fixture
def recipe(script, tmp_path):
    """recipe() runs weights.sh with a Python that only notes what it is asked; gives (data, words) of each call."""
    work, log, python = tmp_path / "work", tmp_path / "log", tmp_path / "python"
    (work / "faces" / "node_modules").mkdir(parents=True)
    (tmp_path / "lexicon.txt").write_text("go\nhouse\nof\n")
    python.write_text(PRETENDER.format(bash="/usr/bin/env bash", log=log, python=shlex.quote(sys.executable)))
    python.chmod(0o755)

    def run(**environment: str) -> tuple[Path, list[tuple[str, list[str]]]]:
        log.write_text("")
        words = [str(work), str(tmp_path / "lexicon.txt"), "--log-every", "5"]
        done = script("weights", *words, CRNN_PYTHON=str(python), **environment)
        assert done.returncode == 0, f"exit code {done.returncode}: {log.read_text()}"
        calls = [line.partition("|") for line in log.read_text().splitlines()]
        return work, [(data, words.split()) for data, _, words in calls]

    return run


def test_each_stage_of_the_recipe_begins_where_the_one_before_ended(recipe):
    work, calls = recipe()
    trained = [words for _, words in calls if words[1] == "models.launch"]
    starts = [words[words.index("--start-from") + 1] for words in trained if "--start-from" in words]
    ends = [f"{words[words.index('--checkpoints') + 1]}/{words[2]}/best.pt" for words in trained]
    small, large = f"{work}/small.safetensors", f"{work}/large.safetensors"
    assert starts == [*ends[:3], small, ends[4], large, ends[5]]
    resized = [words[2:] for _, words in calls if words[1] == "models.resize"]
    assert resized == [[ends[3], small], [ends[5], large]]
    assert ["-m", "models.average", large, ends[6], f"{work}/mean.safetensors"] in [words for _, words in calls]
    for data, words in calls:  # what is trained on was drawn before
        if words[1] == "models.launch":
            names = [part.partition(":")[0] for part in data.split(",")]
            assert {f"{work}/{Path(name).name}" for name in names} <= {
                w[w.index("--out") + 1] for _, w in calls if "--out" in w
            }
    assert (work / "short.txt").read_text().split()[:3] == ["0", "1", "2"]
    assert "house" not in (work / "short.txt").read_text()


@pytest.mark.parametrize(("status", "spared"), [("ok", 1), ("not_steady", 1), ("interrupted", 0), ("crash", 0)])
def test_a_stage_whose_record_says_that_it_ended_is_not_trained_again(status, spared, recipe):
    work, before = recipe()
    (work / "hard.results").mkdir()
    record = work / "hard.results" / "CRNN_AMP_2000S_1CPU_Train.20261120T120000.ab.json"
    record.write_text(json.dumps({"status": status}, indent=1))
    assert len(before) - len(recipe()[1]) == spared


def test_a_stage_that_fails_is_the_last(recipe):
    with pytest.raises(AssertionError, match="exit code 3") as stopped:
        recipe(FAIL="CRNN_AMP_2000S_1CPU_Train")
    assert "CRNN_AMP_600S" in str(stopped.value)
    assert "CRNN_AMP_3000S" not in str(stopped.value)
