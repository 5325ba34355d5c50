"""Sensors are fakes here: a driver, a /sys, a clock."""

import math
import threading
import time
from types import SimpleNamespace

import pytest

from bench.machine.sensors.cnmon import CardStatus
from bench.machine.sensors.host import HostSensor
from bench.machine.sensors.mlu import Cnmon, Mlu
from bench.machine.sensors.nvml import Nvml
from bench.machine.telemetry import Sampler, open_sensor, physical_card
from bench.records.telemetry_summary import card_telemetry


class Meter230:
    """A card of 230 W that stops answering after `answers` samples."""

    name, interval_s = "fake", 0.5

    def __init__(self, clock, answers=10**9):
        self.clock, self.answers = clock, answers

    def sample(self):
        self.answers -= 1
        return {"power_w": 230.0, "temperature_c": None} if self.answers >= 0 else None


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def sampled(n, answers=10**9):
    clock = Clock()
    sampler = Sampler(Meter230(clock, answers), clock)
    for _ in range(n):
        sampler.take(sampler.sensor)
        clock.now += 0.5
    return sampler.sampled(3, [[101.0, 108.0]], origin_s=100.0)


def test_samples_are_counted_from_the_opening_of_the_run_and_give_watts():
    found = sampled(20)
    assert found["time_s"][:3] == [0.0, 0.5, 1.0]
    assert found["windows"] == [[1.0, 8.0]]
    assert "temperature_c" not in found  # never told
    assert card_telemetry(found)["energy_j"] == pytest.approx(7 * 230.0)


def test_a_sensor_that_falls_silent_is_a_gap_and_no_number():
    found = card_telemetry(sampled(20, answers=8))
    assert not found["valid"]
    assert found["power_mean_w"] is None


def test_without_a_sensor_there_is_a_reason():
    found = Sampler(None).start().sampled(0, [[0.0, 1.0]], 0.0)
    assert found["sensor"] is None
    assert card_telemetry(found)["reasons"] == ["no sensor of this card answers"]


def test_the_thread_keeps_its_rate_though_reading_takes_time_and_ends_when_told():
    class Slow(Meter230):
        interval_s = 0.05

        def sample(self):
            time.sleep(0.02)
            return super().sample()

    sampler = Sampler(Slow(None)).start()
    time.sleep(0.6)
    sampler.stop()
    count = len(sampler.time_s)
    assert 5 <= count <= 14  # 12 a second's 0.6, on a machine that may be busy; never 0.6 / 0.02 = 30
    assert not [thread for thread in threading.enumerate() if thread.name == "telemetry" and thread is sampler._thread]
    time.sleep(0.1)
    assert len(sampler.time_s) == count


@pytest.mark.parametrize(
    ("index", "visible", "card"),
    [(1, None, 1), (1, "", 1), (1, "4,6", 6), (0, "GPU-ab12,GPU-cd34", "GPU-ab12"), (2, "4,6", 2), (0, " 5 ", 5)],
)
def test_the_drivers_own_number_of_a_card_that_an_environment_variable_picked(index, visible, card):
    assert physical_card(index, visible) == card


class NVMLError(Exception):
    pass


class FakeNvml(SimpleNamespace):
    """pynvml with one card that draws 300 W at its power limit and knows nothing of ECC."""

    NVMLError = NVMLError

    def __init__(self, reasons=0x4):
        def refuse(*_):
            raise NVMLError

        super().__init__(
            nvmlDeviceGetHandleByIndex=lambda i: refuse() if i else "card 0",
            nvmlDeviceGetHandleByUUID=lambda uuid: f"card {uuid}",
            nvmlDeviceGetPowerUsage=lambda _: 300_000,
            nvmlDeviceGetTotalEnergyConsumption=lambda _: 5_000,
            nvmlDeviceGetTemperature=lambda _, kind: 61,
            nvmlDeviceGetClockInfo=lambda _, kind: 1980,
            nvmlDeviceGetUtilizationRates=lambda _: SimpleNamespace(gpu=97),
            nvmlDeviceGetMemoryInfo=lambda _: SimpleNamespace(used=1 << 30),
            nvmlDeviceGetCurrentClocksThrottleReasons=lambda _: reasons,  # a driver before 535
            nvmlDeviceGetTotalEccErrors=refuse,
            nvmlDeviceGetEccMode=refuse,
            nvmlDeviceGetName=lambda _: b"H200",
            nvmlDeviceGetUUID=lambda _: "GPU-1",
            nvmlSystemGetDriverVersion=lambda: "550.1",
            nvmlDeviceGetComputeRunningProcesses=lambda _: [SimpleNamespace(pid=7)],
        )


def test_an_nvidia_card_tells_what_it_can_and_the_rest_is_none():
    found = Nvml.open(0, FakeNvml()).sample()
    assert (found["power_w"], found["energy_j"], found["clock_mhz"], found["memory_bytes"]) == (
        300.0,
        5.0,
        1980,
        1 << 30,
    )
    assert found["ecc_errors"] is None
    assert (found["throttled"], found["power_capped"]) == (False, True)
    assert Nvml.open(0, FakeNvml(reasons=0x40)).sample()["throttled"] is True


def test_facts_users_and_cards_that_are_not_there():
    card = Nvml.open("GPU-1", FakeNvml())
    assert (card.handle, card.users()) == ("card GPU-1", [7])
    assert card.facts()["name"] == "H200"
    assert card.facts()["ecc"] is card.facts()["link_width"] is None
    assert Nvml.open(1, FakeNvml()) is None


def test_an_mlu_through_the_library_and_through_the_program():
    reading = CardStatus(1, "MLU370-X8", "5.10", 106.0, 41.0, 88.0, 512.0, 24576.0)
    library = SimpleNamespace(card=lambda i: reading, read=lambda: [None, reading])
    wanted = {"power_w": 106.0, "temperature_c": 41.0, "utilisation_percent": 88.0, "memory_bytes": 512 * 2**20}
    assert Mlu.open(1, library).sample() == wanted
    assert Mlu.open(2, library) is None
    assert Cnmon.open(1, lambda: [reading]).sample() == wanted
    assert Cnmon.open(0, lambda: [reading]) is Cnmon.open(0, lambda: None) is None


def test_a_hung_cnmon_is_a_gap_and_what_it_does_not_say_is_none():
    answers = iter([[CardStatus(0)], [CardStatus(0)], None])
    card = Cnmon.open(0, lambda: next(answers))
    assert set(card.sample().values()) == {None}
    assert card.sample() is None


def make_sys(root, energy=10, name="intel-rapl:0"):
    package = root / "class/powercap" / name
    package.mkdir(parents=True)
    (package / "energy_uj").write_text(f"{energy}\n")
    (package / "max_energy_range_uj").write_text("1000000\n")
    cpu = root / "devices/system/cpu/cpu0"
    (cpu / "cpufreq").mkdir(parents=True)
    (cpu / "cpufreq/scaling_cur_freq").write_text("2400000\n")
    (cpu / "thermal_throttle").mkdir()
    (cpu / "thermal_throttle/package_throttle_count").write_text("0\n")
    zone = root / "class/thermal/thermal_zone0"
    zone.mkdir(parents=True)
    (zone / "type").write_text("x86_pkg_temp\n")
    (zone / "temp").write_text("54000\n")
    return package, cpu


def test_a_host_counts_joules_across_the_wrap_of_its_counter(tmp_path):
    package, cpu = make_sys(tmp_path, energy=900_000)
    host = HostSensor.open(0, tmp_path)
    (package / "energy_uj").write_text("100000\n")  # wrapped: 0.2 J
    first = host.sample()
    (cpu / "thermal_throttle/package_throttle_count").write_text("2\n")
    (package / "energy_uj").write_text("600000\n")
    second = host.sample()
    assert (first["energy_j"], second["energy_j"]) == (pytest.approx(0.2), pytest.approx(0.7))
    assert (first["clock_mhz"], first["temperature_c"]) == (2400.0, 54.0)
    assert (first["throttled"], second["throttled"]) == (None, True)


def test_a_host_without_sensors_has_no_power_and_says_what_it_can(tmp_path):
    found = HostSensor.open(0, tmp_path).sample()
    assert found["energy_j"] is found["clock_mhz"] is found["temperature_c"] is found["throttled"] is None
    assert found["memory_bytes"] > 0
    assert 0 <= found["utilisation_percent"] <= 100


def test_parts_of_a_package_are_not_counted_twice(tmp_path):
    make_sys(tmp_path)
    part = tmp_path / "class/powercap/intel-rapl:0:0"
    part.mkdir()
    (part / "energy_uj").write_text("5\n")
    (part / "max_energy_range_uj").write_text("9\n")
    assert len(HostSensor.open(0, tmp_path).packages) == 1


def test_this_machine_answers_for_its_processor():
    sensor = open_sensor("CPU", 0)
    assert sensor.name == "host"
    assert math.isfinite(sensor.sample()["memory_bytes"])
