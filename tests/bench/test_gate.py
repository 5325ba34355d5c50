"""Records against committed baselines: exit codes, other cards, and what CI is told."""

from __future__ import annotations

import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import pytest

from bench import gate
from bench.errors import UserError
from bench.judging import baselines
from tests.support import ROOT
from tests.support.records import make_record

TIMES = (0.0998, 0.1, 0.1001, 0.1002, 0.0999)
DAYS = (0.998, 1.0, 1.001, 0.999, 1.002)  # levels of the machine, a sitting each


@pytest.fixture
def place(tmp_path):
    """place(factor) saves five runs so much slower, and gives their folder."""

    def save(factor: float = 1.0, times=TIMES, days=DAYS, **changes):
        folder = tmp_path / f"runs{len(list(tmp_path.iterdir()))}"
        for day, level in enumerate(days, 1):
            for i, step_s in enumerate(times):
                when = f"2026-01-{day:02}T10:{i:02}:00+00:00"
                make_record(**{"step_s": step_s * factor * level, "started_utc": when, **changes}).save(folder)
        return folder

    save.baselines = tmp_path / "baselines"
    return save


def run(*words) -> int:
    with pytest.raises(SystemExit) as ended:
        gate.main([str(word) for word in words])
    return ended.value.code


@pytest.fixture
def promoted(place):
    gate.main([str(place()), "--promote", "--baselines", str(place.baselines)])
    return place


@pytest.mark.parametrize(("factor", "code", "said"), [(1.0, 0, "PASS"), (0.9, 0, "PASS"), (1.08, 1, "FAIL")])
def test_the_gate_blocks_what_is_slower(promoted, capsys, factor, code, said):
    assert run(promoted(factor), "--baselines", promoted.baselines) == code
    assert said in capsys.readouterr().out


def test_another_card_is_new_and_never_a_pass(promoted, capsys):
    cell = make_record().cell | {"card": "Other CPU"}
    assert run(promoted(cell=cell), "--baselines", promoted.baselines) == 3
    assert "is of another card, and cards are not compared" in capsys.readouterr().out


def test_other_settings_are_new_and_named(promoted, capsys):
    cell = make_record().cell | {"threads_per_card": 7}
    other = promoted(cell=cell)
    assert run(other, "--baselines", promoted.baselines) == 4  # what was promoted was not measured
    assert "cell.threads_per_card differ" in capsys.readouterr().out
    assert run(other, "--baselines", promoted.baselines, "--partial") == 3


def test_no_baseline_at_all_is_new(place, capsys):
    assert run(place(), "--baselines", place.baselines) == 3
    assert "no baseline of this run" in capsys.readouterr().out


@pytest.mark.parametrize("factor", [1.0, 1.2])
def test_one_sitting_says_nothing_of_how_far_sittings_lie_apart(place, capsys, factor):
    gate.main([str(place(days=DAYS[:1])), "--promote", "--baselines", str(place.baselines)])
    assert "one sitting shows nothing" in capsys.readouterr().out
    assert run(place(factor, days=DAYS[:1]), "--baselines", place.baselines) == 3
    said = capsys.readouterr().out
    assert "promote those of other days" in said
    assert "--promote baselines of more days" in said and "with more pairs" not in said


def test_days_that_differ_by_ten_percent_hide_eight(place):
    gate.main([str(place(days=(0.9, 1.0, 1.1))), "--promote", "--baselines", str(place.baselines)])
    assert run(place(1.08, days=(1.0,)), "--baselines", place.baselines) == 3


def test_what_older_builds_showed_of_the_days_is_known_of_a_new_one(place, capsys):
    gate.main([str(place()), "--promote", "--baselines", str(place.baselines)])
    new = {"commit": "d" * 40, "dirty": False}
    gate.main([str(place(days=(1.0,), provenance=new)), "--promote", "--baselines", str(place.baselines)])
    assert run(place(days=(1.0,)), "--baselines", place.baselines) == 0
    assert run(place(1.08, days=(1.0,)), "--baselines", place.baselines) == 1


def test_promoting_another_day_adds_a_sitting_and_the_same_one_twice_does_not(place):
    first, second = place(days=(1.0,)), place(days=(1.0, 1.01))
    for folder in (first, second, second):
        gate.main([str(folder), "--promote", "--baselines", str(place.baselines)])
    [path] = place.baselines.glob("*.json")
    ids = [i for one in baselines.read_baseline(path)[0].sittings for i in one["record_ids"]]
    assert len(ids) == len(set(ids)) == 15


CELL_2 = make_record(cards=2).cell | {"card": "Test CPU"}


def test_a_cell_that_has_a_baseline_and_was_not_measured_is_no_pass(promoted, capsys):
    two = {"cards": 2, "cell": CELL_2, "run": "CRNN_FP32_30E_2CPUs_Train"}
    gate.main([str(promoted(**two)), "--promote", "--baselines", str(promoted.baselines)])
    same = promoted()
    assert run(same, "--baselines", promoted.baselines) == 4
    said = capsys.readouterr().out
    assert "INCOMPLETE (CRNN_FP32_30E_2CPUs_Train on Test CPU has a baseline" in said
    assert run(same, "--baselines", promoted.baselines, "--partial") == 0
    assert "was not measured" in capsys.readouterr().out


@pytest.mark.parametrize("lost", [1, 25])
def test_accuracy_that_vanished_is_no_pass(promoted, capsys, lost):
    folder = promoted()
    for path in sorted(folder.glob("*.json"))[:lost]:
        path.unlink()
        make_record(step_s=0.1, accuracy=None, started_utc="2026-01-01T10:00:00+00:00").save(folder)
    assert run(folder, "--baselines", promoted.baselines) == 4
    assert f"and {25 - lost} of 25 records have one" in capsys.readouterr().out


USELESS = {
    "ended in crash": ({"status": "crash", "status_reasons": ["no"]}, 1),
    "its tree differed from its commit": ({"provenance": {"commit": "c" * 40, "dirty": True}}, 4),
    "it is too short": ({"minimum": {"steps": 100, "seconds": 0.0}}, 4),
    "an ablation, without compute": ({"cell": make_record().cell | {"without": "compute"}}, 4),
    "it names no commit": ({"provenance": {}}, 4),
}


@pytest.mark.parametrize("why", USELESS)
def test_a_record_of_no_use_is_refused_by_name_in_the_gate_and_for_a_baseline(promoted, capsys, why):
    changes, code = USELESS[why]
    folder = promoted()
    path = make_record(**changes).save(folder)
    assert run(folder, "--baselines", promoted.baselines) == code
    said = capsys.readouterr().out
    assert why in said
    assert path.stem.rpartition(".")[2] in said
    before = {file: file.read_text() for file in promoted.baselines.iterdir()}
    with pytest.raises(UserError, match=why):
        gate.main([str(folder), "--promote", "--baselines", str(promoted.baselines)])
    assert before == {file: file.read_text() for file in promoted.baselines.iterdir()}


def test_another_environment_is_not_comparable_and_named(promoted, capsys):
    other = {"commit": "c" * 40, "dirty": False, "versions": {"torch": "9.9"}}
    assert run(promoted(provenance=other), "--baselines", promoted.baselines) == 3
    assert "not comparable with" in (said := capsys.readouterr().out)
    assert "environment.versions.torch" in said


def read(correct, n=98, **changes):
    right = [1] * correct + [0] * (n - correct)
    accuracy = {"split": "val", "n": n, "correct": correct, "word_accuracy": correct / n, "right": right}
    return {"accuracy": accuracy, **changes}


@pytest.mark.parametrize(("correct", "code"), [(90, 0), (89, 3), (91, 3), (60, 1)])
def test_one_word_of_98_proves_nothing_and_thirty_do(place, correct, code):
    gate.main([str(place(**read(90))), "--promote", "--baselines", str(place.baselines)])
    assert run(place(**read(correct)), "--baselines", place.baselines) == code


def test_accuracy_of_other_weights_is_not_compared_and_speed_is(place, capsys):
    def of(weights):
        return {"commit": "c" * 40, "dirty": False, "contents": {"weights_sha256": weights}}

    gate.main([str(place(**read(90, provenance=of("a")))), "--promote", "--baselines", str(place.baselines)])
    assert run(place(**read(10, provenance=of("b"))), "--baselines", place.baselines) == 3
    said = capsys.readouterr().out
    assert "not comparable: it is of other weights" in said
    assert "PASS" in said


def test_fewer_words_read_fail_although_speed_holds(promoted, capsys):
    assert run(promoted(accuracy=None), "--baselines", promoted.baselines) == 4
    capsys.readouterr()
    worse = {"split": "val", "n": 100, "correct": 20, "word_accuracy": 0.20}
    assert run(promoted(accuracy=worse), "--baselines", promoted.baselines) == 1
    assert "-30.00 points" in capsys.readouterr().out


@pytest.mark.parametrize("content", ["{", "{}", '{"values": 3}'])
def test_a_broken_baseline_is_one_line(promoted, content):
    [path] = promoted.baselines.glob("*.json")
    path.write_text(content)
    with pytest.raises(UserError, match="not a baseline"):
        gate.main([str(promoted()), "--baselines", str(promoted.baselines)])


def test_a_renamed_baseline_is_refused(promoted):
    [path] = promoted.baselines.glob("*.json")
    path.write_text(path.read_text().replace("Test CPU", "Better CPU"))
    with pytest.raises(UserError, match="was renamed or edited"):
        gate.main([str(promoted()), "--baselines", str(promoted.baselines)])


def test_an_empty_folder_is_one_line(tmp_path):
    with pytest.raises(UserError, match="no records in"):
        gate.main([str(tmp_path)])


def test_github_gets_a_summary_and_annotations(promoted, capsys, tmp_path, monkeypatch):
    summary = tmp_path / "summary.md"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    run(promoted(1.08), "--baselines", promoted.baselines, "--github")
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("::")]
    assert len(lines) == 1
    assert lines[0].startswith("::error title=CRNN_FP32_30E_1CPU_Train throughput%3A FAIL::")
    assert "%25" in lines[0].partition("FAIL::")[2]
    assert "| throughput |" in summary.read_text().replace("  ", "")


def test_junit_has_a_case_for_each_metric(promoted, tmp_path):
    run(promoted(1.08), "--baselines", promoted.baselines, "--junit", tmp_path / "gate.xml")
    suite = ElementTree.parse(tmp_path / "gate.xml").getroot()
    assert {case.get("name") for case in suite} >= {"throughput", "accuracy"}
    assert suite.get("failures") == "1"
    assert suite.find("testcase[@name='throughput']/failure") is not None


def test_junit_escapes_names(promoted, tmp_path):
    cell = make_record().cell | {"card": "<&\x1b>"}
    assert run(promoted(cell=cell), "--baselines", promoted.baselines, "--junit", tmp_path / "gate.xml") == 3
    assert ElementTree.parse(tmp_path / "gate.xml").getroot().get("skipped") == "1"


def test_the_self_test_prints_its_rates(capsys):
    assert run("--self-test", "--sittings", "40") == 0
    said = capsys.readouterr().out
    assert "false alarms %" in said
    assert "every promise is kept" in said


@pytest.mark.parametrize(
    "module", ["bench.gate", "bench.compare", "bench.history", "bench.sweep", "bench.reporting.page"]
)
def test_judging_needs_no_torch(module):
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
