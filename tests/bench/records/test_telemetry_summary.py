"""Known samples in, known joules out."""

import numpy as np
import pytest

from bench.records.checks import validation_errors
from bench.records.telemetry_summary import card_telemetry
from tests.support.records import make_record, make_samples


def card(**changes):
    return card_telemetry(make_samples(0, seconds=20.0) | changes)


def test_a_constant_draw_is_power_times_time():
    found = card()
    assert found["valid"]
    assert (found["energy_j"], found["energy_source"]) == (pytest.approx(2000.0), "trapezoid")
    assert found["power_mean_w"] == pytest.approx(100.0)
    assert found["coverage_share"] == pytest.approx(1.0)


def test_what_lies_outside_the_measured_windows_is_not_counted():
    time = np.arange(0.0, 40.0, 0.5)
    power = np.where((time >= 10) & (time <= 20), 200.0, 50.0)
    found = card(time_s=time.tolist(), power_w=power.tolist(), windows=[[10.0, 20.0]], temperature_c=[])
    assert found["energy_j"] == pytest.approx(2000.0)
    assert found["power_max_w"] == 200.0
    assert found["samples"] == 21
    assert found["temperature_max_c"] is None


def test_a_ramp_is_integrated_between_samples_and_at_the_edges():
    time = np.arange(0.0, 30.0, 0.5)
    found = card(
        time_s=time.tolist(), power_w=(10 * time).tolist(), windows=[[5.25, 10.75], [12.1, 13.3]], temperature_c=[]
    )
    assert found["energy_j"] == pytest.approx(5 * (10.75**2 - 5.25**2 + 13.3**2 - 12.1**2))


def test_a_counter_is_believed_before_the_integral():
    sampled = make_samples(0, seconds=20.0)
    found = card(energy_j=[150.0 * t for t in sampled["time_s"]])
    assert (found["energy_j"], found["energy_source"]) == (pytest.approx(3000.0), "counter")
    assert found["power_mean_w"] == pytest.approx(150.0)


def test_a_gap_makes_the_numbers_null_and_says_why():
    sampled = make_samples(0, seconds=20.0)
    keep = [i for i, t in enumerate(sampled["time_s"]) if not 14 < t < 20]
    found = card(**{name: [sampled[name][i] for i in keep] for name in ("time_s", "power_w", "temperature_c")})
    assert not found["valid"]
    assert found["power_mean_w"] is found["energy_j"] is found["temperature_max_c"] is None
    assert "a gap of 6.0 s" in " ".join(found["reasons"])
    assert "cover" in " ".join(found["reasons"])


def test_samples_that_end_before_the_window_does_do_not_cover_it():
    sampled = make_samples(0, seconds=20.0)
    found = card(**{name: sampled[name][:20] for name in ("time_s", "power_w", "temperature_c")})
    assert not found["valid"]
    assert found["coverage_share"] < 0.6


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"interval_s": 2.0}, "slower than 1 Hz"),
        ({"windows": []}, "nothing was measured"),
        ({"time_s": [10.0], "power_w": [1.0]}, "1 samples are no series"),
        ({"reasons": ["no sensor on this card"]}, "no sensor on this card"),
    ],
)
def test_no_number_without_a_reason(changes, said):
    found = card(**changes)
    assert not found["valid"]
    assert said in " ".join(found["reasons"])
    assert found["energy_j"] is None


def test_a_sensor_that_drops_out_for_a_moment_is_bridged():
    sampled = make_samples(0, seconds=20.0)
    power = [None if i % 5 == 0 else 100.0 for i in range(len(sampled["time_s"]))]
    assert card(power_w=power)["energy_j"] == pytest.approx(2000.0)


def test_throttling_and_new_memory_errors_are_evidence():
    n = len(make_samples(0, seconds=20.0)["time_s"])
    found = card(throttled=[0, 1] * (n // 2) + [0] * (n % 2), ecc_errors=[3] * (n // 2) + [5] * (n - n // 2))
    assert 0.4 < found["throttled_share"] < 0.6
    assert found["ecc_errors"] == 2


def test_power_is_of_all_cards_or_of_none():
    both = [make_samples(rank, seconds=1.2, watts=100.0 + rank) for rank in range(2)]
    cell = make_record(cards=2).cell | {"device": "GPU"}
    record = make_record(cards=2, samples=both, cell=cell, run="CRNN_FP32_30E_2GPUs_Train")
    assert record.power["mean_w"] == pytest.approx(201.0)
    assert record.power["j_per_1k_images"] == pytest.approx(201.0 / record.throughput["images_per_s"] * 1e3)
    assert validation_errors(record) == []
    assert make_record(cards=2, samples=both[:1], cell=cell).power is None
