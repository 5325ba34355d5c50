"""Records against committed baselines: exit codes, other cards, and what CI is told."""

from __future__ import annotations

import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import pytest

from bench import gate
from bench.errors import UserError
from bench.judging import baselines, noise
from bench.judging.noise import Spread
from tests.support import ROOT
from tests.support.records import make_record

TIMES = (0.0998, 0.1, 0.1001, 0.1002, 0.0999)


@pytest.fixture
def place(tmp_path):
    """place(factor) saves five runs so much slower, and gives their folder."""

    def save(factor: float = 1.0, times=TIMES, **changes):
        folder = tmp_path / f"runs{len(list(tmp_path.iterdir()))}"
        for step_s in times:
            make_record(step_s=step_s * factor, **changes).save(folder)
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
    cell = make_record().cell | {"batch_per_card": 32, "threads_per_card": 7}
    assert run(promoted(cell=cell), "--baselines", promoted.baselines) == 3
    assert "is of other settings (cell.threads_per_card)" in capsys.readouterr().out


def test_no_baseline_at_all_is_new(place, capsys):
    assert run(place(), "--baselines", place.baselines) == 3
    assert "no baseline of this run" in capsys.readouterr().out


def test_one_run_a_side_is_ambiguous_until_the_card_is_calibrated(place, capsys):
    gate.main([str(place(times=(0.1,))), "--promote", "--baselines", str(place.baselines)])
    slow, record = place(1.2, times=(0.1,)), make_record()
    assert run(slow, "--baselines", place.baselines) == 3
    assert "says nothing of the noise" in capsys.readouterr().out
    spreads = dict.fromkeys(("throughput", "latency", "memory", "accuracy"), Spread(0.01, 16))
    noise.store_noise(record.cell["card"], baselines.cells.key(record), record.run, spreads, place.baselines)
    assert run(slow, "--baselines", place.baselines) == 1


def test_fewer_words_read_fail_although_speed_holds(promoted, capsys):
    worse = {"split": "val", "n": 100, "correct": 30, "word_accuracy": 0.30}
    assert run(promoted(accuracy=worse), "--baselines", promoted.baselines) == 1
    assert "-20.00 points" in capsys.readouterr().out


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
    assert "false alarms %" in capsys.readouterr().out


@pytest.mark.parametrize(
    "module", ["bench.gate", "bench.compare", "bench.history", "bench.sweep", "bench.reporting.page"]
)
def test_judging_needs_no_torch(module):
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
