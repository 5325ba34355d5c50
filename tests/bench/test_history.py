import numpy as np
import pytest

from bench import history
from bench.errors import UserError
from bench.judging.changes import find_changes
from bench.judging.policy import TOLERANCES
from bench.judging.sittings import history_points
from tests.support.records import make_record


def level(*parts, sd=0.01, seed=0):
    """A series of (length, level) parts with noise."""
    random = np.random.default_rng(seed)
    return np.concatenate([value * np.exp(random.normal(0, sd, n)) for n, value in parts])


def test_a_lasting_change_is_found_where_it_is():
    [change] = find_changes(level((40, 100), (20, 96)))
    assert abs(change.index - 40) <= 1
    assert change.share == pytest.approx(-0.04, abs=0.01)


def test_changes_beyond_one_window_are_found_each_once():
    found = find_changes(level((70, 100), (40, 94), (60, 103)))
    assert [round(c.index / 5) * 5 for c in found] == [70, 110]


def test_noise_alone_and_one_bad_run_are_no_change():
    assert sum(bool(find_changes(level((60, 100), seed=seed))) for seed in range(100)) <= 2
    series = level((60, 100))
    series[30] *= 0.5
    assert find_changes(series) == []


def test_a_change_smaller_than_what_is_accepted_is_left_out():
    series = level((60, 100), (60, 99), sd=0.0005)
    assert find_changes(series) == []


@pytest.mark.parametrize("series", [[], [5.0], [5.0, 6.0, 7.0], [5.0] * 30, [5.0, 6.0] * 5])
def test_short_and_flat_series(series):
    assert find_changes(series) == []


def test_shares_are_compared_in_points_and_may_be_zero():
    random = np.random.default_rng(0)
    series = np.concatenate([np.zeros(20), 0.1 + random.normal(0, 0.001, 20)])
    [change] = find_changes(series, TOLERANCES["accuracy"])
    assert change.share == pytest.approx(0.1, abs=0.002)


def test_a_drift_is_no_change_and_a_step_in_it_is_none_of_its_size():
    drifting = level((120, 100), sd=0.01) * np.exp(-0.0005 * np.arange(120))
    assert find_changes(drifting) == []


def save(folder, step_s, i, commit="", hour=0, **where):
    day = f"2026-0{1 + i // 28}-{i % 28 + 1:02}T{hour:02}:00:00+00:00"
    provenance = {"commit": commit or f"{i:02}" * 20, "dirty": False, **where}
    make_record(step_s=step_s * (1 + 0.001 * (i % 3)), started_utc=day, provenance=provenance).save(folder)


def test_the_command_names_run_and_commits(tmp_path, capsys):
    for i, step_s in enumerate([0.1] * 12 + [0.11] * 12):
        save(tmp_path, step_s, i)
    history.main([str(tmp_path)])
    said = capsys.readouterr().out
    assert "111111111..121212121" in said
    assert "-9." in said
    assert "worse" in said
    assert said.count("CRNN_FP32_30E_1CPU_Train") == 1
    assert " 0 |" not in said  # a p is never printed as 0


def test_no_commit_is_blamed_when_the_machine_or_its_versions_changed(tmp_path, capsys):
    for i, step_s in enumerate([0.1] * 14 + [0.11] * 14):
        save(tmp_path, step_s, i, versions={"torch": "2.1" if i < 14 else "2.2"})
    history.main([str(tmp_path)])
    assert "no lasting change" in capsys.readouterr().out


def test_the_same_code_is_not_to_blame(tmp_path, capsys):
    for i, step_s in enumerate([0.1] * 14 + [0.11] * 14):
        save(tmp_path, step_s, i, commit="c" * 40)
    history.main([str(tmp_path)])
    assert "ccccccccc, and so before: not the code" in capsys.readouterr().out


def test_runs_of_one_sitting_are_one_value(tmp_path):
    for i in range(12):
        for hour in (0, 0, 0):
            save(tmp_path, 0.1, i, hour=hour)
    records = history.load_valid(history.find_records([tmp_path]))
    [group] = history.histories(records)
    assert [len(some) for some, _ in history_points(group, TOLERANCES["throughput"].read)] == [3] * 12


def test_a_metric_that_is_none_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"--metric is one of throughput, .*, not 'speed'"):
        history.main([str(tmp_path), "--metric", "speed"])
