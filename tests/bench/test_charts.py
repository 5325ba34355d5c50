"""Charts drawn from invented records: what they show, and that nothing is drawn of nothing."""

import re

import numpy as np
import pytest

from bench.judging import baselines
from bench.reporting import charts, svg
from bench.reporting.index import make_entry
from bench.reporting.rows import make_rows
from tests.support.records import make_record
from tests.support.varied_records import varied


def test_throughput_by_cards_has_an_ideal_line_of_the_one_card_row(tmp_path):
    figure = charts.by_cards(make_rows([varied("GPU", cards, "FP32", "Train", 7, 20) for cards in (1, 2, 4)]))
    assert figure.count("line s0 ideal") == 1
    assert "% of ideal" in figure
    assert charts.by_cards(make_rows([varied("GPU", 1, "FP32", "Train", 7, 20)])) is None


def test_history_shows_the_baseline_and_the_change(tmp_path):
    runs = [varied("GPU", 1, "FP32", "Train", day, day, 1.0 if day < 12 else 0.9) for day in range(1, 24)]
    baselines.store_baseline(runs[:5], tmp_path)
    [row] = make_rows(runs[-1:])
    row.history = [make_entry(run) for run in runs]
    figure = charts.over_time(row, tmp_path)
    assert figure.count('class="level"') == figure.count('class="mark"') == 1
    assert "the level changed by -" in figure
    assert 'class="level"' not in charts.over_time(row, tmp_path / "none")


def test_warm_up_is_shaded_and_every_rank_drawn():
    figure = charts.step_times(varied("GPU", 4, "FP32", "Train", 7, 20))
    assert "warm-up: 20 steps" in figure
    assert figure.count("<polyline") == 4


def test_power_is_drawn_where_a_sensor_told_it_only():
    assert "rank 1, nvml" in charts.power_over_time(varied("GPU", 2, "FP32", "Train", 7, 20))
    assert charts.power_over_time(make_record()) is None


def test_what_was_not_measured_is_not_drawn(tmp_path):
    rows = make_rows([make_record(accuracy=None, latency=[])])
    assert charts.accuracy_by_throughput(rows) is None
    assert charts.latency_distribution(rows) is None
    assert charts.over_time(rows[0], tmp_path) is None
    assert charts.training_loss(make_record()) is None


def test_thinning_keeps_a_spike():
    points = [(i, 1.0) for i in range(10_000)]
    points[7777] = (7777, 9.0)
    thin = svg.thin_out(points)
    assert len(thin) <= svg.MOST_POINTS
    assert (7777, 9.0) in thin
    assert [x for x, _ in thin] == sorted(x for x, _ in thin)


@pytest.mark.parametrize(("low", "high"), [(0, 1), (13_400, 14_100), (0, 95_000), (0.01, 0.013), (5, 5)])
def test_ticks_are_round_and_few(low, high):
    ticks = svg.Scale(low, high, 0, 100).ticks()
    assert 1 <= len(ticks) <= 7
    assert all(low - 1e-9 <= tick <= high + 1e-9 for tick in ticks)
    assert np.allclose(np.diff(ticks), ticks[1] - ticks[0]) if len(ticks) > 2 else True


def test_names_are_escaped_in_charts():
    plot = svg.Plot("<t>", "<x>", "y", (0, 1), (0, 1))
    plot.name(0, "</svg><script>\x1b[31m")
    plot.point(0.5, 0.5, 0, '"><script>')
    assert "<script>" not in plot.svg()
    assert "\x1b" not in plot.svg()


def test_dates_are_on_the_axis_and_times_where_all_is_of_one_day():
    days = [f"2026-01-{day:02}T10:00:00+00:00" for day in range(1, 10)]
    assert charts.date_ticks(days) == [(1, "01-01"), (3, "01-03"), (5, "01-05"), (7, "01-07"), (9, "01-09")]
    assert charts.date_ticks(["2026-01-01T10:00:00", "2026-01-01T11:30:00"]) == [(1, "10:00"), (2, "11:30")]
    assert charts.date_ticks(days[:1]) == [(1, "10:00")]


def test_runs_of_one_day_are_one_value_of_the_history(tmp_path):
    """Levels that differ from day to day are no change, and a change is marked where its day begins."""
    levels = np.random.default_rng(3).normal(0, 0.005, 20) - 0.15 * (np.arange(20) >= 10)
    runs = [
        varied("GPU", 1, "FP32", "Train", 10 * day + i, day, float(np.exp(levels[day])),
               started_utc=f"2026-01-{day:02}T10:{i:02}:00+00:00")
        for day in range(1, 19) for i in range(6)
    ]  # fmt: skip
    [row] = make_rows(runs[-1:])
    row.history = [make_entry(run) for run in runs[::-1]]
    [at] = re.findall(r'class="mark" x1="([\d.]+)"', charts.over_time(row, tmp_path))
    across = svg.Scale(0.5, len(runs) + 0.5, svg.LEFT, svg.WIDTH - svg.RIGHT)
    assert float(at) == pytest.approx(across(9 * 6 + 0.5), abs=0.1)


@pytest.mark.parametrize("is_log", [False, True])
def test_many_places_are_those_of_one(is_log):
    scale = svg.Scale(2, 50, 10, 400, is_log)
    values = [2.0, 3.0, 10.0, 50.0]
    assert scale.places(values) == pytest.approx([scale(value) for value in values])
    assert svg.Scale(5, 5, 10, 400).places([5.0]) == [10.0]
    assert svg.Scale(5, 5, 10, 400).places([]) == []
