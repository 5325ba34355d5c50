import pytest

from bench.errors import UserError
from benchmarks import growth
from benchmarks.growth import AXES, GrowthOptions, Point, Table, grown, points


def test_one_axis_moves_and_the_others_stay():
    sizes = points("width", GrowthOptions("width", batch=8))
    assert [point.width for point in sizes] == [32, 100, 200, 400, 800]
    assert {(point.batch, point.classes) for point in sizes} == {(8, 37)}


def test_sizes_larger_than_asked_are_left_out():
    assert [point.batch for point in points("batch", GrowthOptions("width", most=16))] == [1, 4, 16]


def test_a_row_has_a_rate_for_training_and_for_reading(monkeypatch):
    monkeypatch.setattr("benchmarks.growth.points", lambda axis, options: [Point(batch=1, width=32)])
    [[size, train, infer]] = grown("width", GrowthOptions("width", rounds=1))
    assert size == 32
    assert train > 0
    assert infer > 0


def test_processes_train_together(tmp_path):
    """Two real ranks over gloo. How fast is a matter of the machine, and not of this test."""
    rate, share = growth.exchanged(GrowthOptions("width", batch=1, rounds=1), 2)
    assert rate > 0 and share > 0


def test_a_set_is_opened_shuffled_and_read():
    [[records, *seconds]] = growth.dataset(GrowthOptions("width", most=1000)).rows
    assert records == 1000 and len(seconds) == 3 and min(seconds) >= 0


def test_the_command_prints_a_table_and_draws_it(monkeypatch, tmp_path, capsys):
    table = Table(("batch", "train images/s", "infer images/s"), [[1, 10.0, 41.0], [4, 19.0, 68.0]])
    monkeypatch.setitem(AXES, "batch", lambda options: table)
    growth.main(["batch", "--out", str(tmp_path)])
    assert "train images/s" in capsys.readouterr().out
    drawn = (tmp_path / "batch.svg").read_text()
    assert "infer images/s" in drawn
    assert len(drawn) < 40_000


def test_an_unknown_axis_is_refused_with_those_there_are():
    with pytest.raises(UserError, match="batch, threads, width, classes, processes, buckets, dataset, not 'hight'"):
        growth.main(["hight"])


@pytest.mark.parametrize("words", [[], ["--rounds", "3"]])
def test_without_an_axis_it_says_how_to_name_one(words):
    with pytest.raises(UserError, match="want AXIS, as in: python -m"):
        growth.main(words)
