"""The genuine nvidia-ml-py on a library of that name compiled here: calls, units, cards, slices, strangers."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.support import ROOT

pytest.importorskip("pynvml")
ASK = """
import json, os, sys
from pathlib import Path
from bench.machine import preflight, telemetry
card = json.loads(sys.argv[1])
sensor = telemetry.open_sensor("GPU", card)
if sensor is None:
    print(json.dumps({"why": telemetry.why_no_sensor("GPU")}))
    sys.exit()
at = preflight.look_around("card 0", sensor, 1, None, False)
checks = {one["check"]: [one["level"], one["said"]] for one in preflight.check_machine(at)}
print(json.dumps({"sample": sensor.sample(), "facts": sensor.facts(), "users": sensor.users(), "checks": checks}))
"""


@pytest.fixture(scope="module")
def driver(tmp_path_factory):
    """Folders of the library with a driver, and without."""
    made = []
    for number in (1, 0):
        folder = tmp_path_factory.mktemp(f"driver{number}")
        source = ROOT / "tests/fake_nvml/nvml.c"
        command = ["cc", "-shared", "-fPIC", f"-DDRIVER={number}", "-o", folder / "libnvidia-ml.so.1", source]
        subprocess.run(command, check=True)
        made.append(folder)
    return made


def ask(folder, card, **environment):
    done = subprocess.run(
        [sys.executable, "-c", ASK, json.dumps(card)], cwd=ROOT, capture_output=True, text=True,
        env={**os.environ, "LD_LIBRARY_PATH": str(folder), **environment},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_a_whole_card_tells_everything_in_the_records_units(driver):
    found = ask(driver[0], 0)
    assert found["sample"] == {
        "power_w": 412.345, "energy_j": 9876543.21, "temperature_c": 54, "clock_mhz": 1755, "utilisation_percent": 97,
        "memory_bytes": 7 << 30, "throttled": False, "power_capped": True, "ecc_errors": 2,
    }  # fmt: skip
    assert found["facts"] == {
        "name": "NVIDIA H200", "uuid": "GPU-5d1f0a3c-0000-4000-8000-000000000001", "driver": "580.95.05",
        "power_limit_w": 500.0, "power_limit_default_w": 700.0, "clock_maximum_mhz": 1980, "ecc": True, "mig": False,
        "link_width": 8, "link_width_maximum": 16,
    }  # fmt: skip
    assert found["checks"]["link"][0] == "warning" and found["checks"]["memory_errors"][0] == "warning"


def test_a_card_is_found_by_its_uuid_and_what_it_cannot_say_is_null(driver):
    found = ask(driver[0], "GPU-5d1f0a3c-0000-4000-8000-000000000002")
    assert found["sample"]["throttled"] is True and found["sample"]["ecc_errors"] is None
    assert found["checks"]["throttling"][0] == "warning"


def test_a_slice_has_no_power_of_its_own_and_says_that_it_is_one(driver):
    found = ask(driver[0], "MIG-9b0e5c52-0000-5000-8000-000000000003")
    assert found["sample"]["power_w"] is found["sample"]["utilisation_percent"] is None
    assert found["sample"]["memory_bytes"] == 7 << 30
    assert found["facts"]["mig"] is True and "MIG" in found["facts"]["name"]


def test_a_stranger_on_the_card_is_a_warning_and_this_runs_own_process_is_not(driver):
    assert ask(driver[0], 0)["checks"]["others"] == ["ok", "nobody else is on it"]
    level, said = ask(driver[0], 0, FAKE_NVML_PIDS=f"{os.getpid()}")["checks"]["others"]  # the parent of the asker
    assert (level, said) == ("warning", f"processes [{os.getpid()}] use card 0")
    nobody_here = 4_000_001  # as the host counts, seen from a container: this kernel's numbers end before
    assert ask(driver[0], 0, FAKE_NVML_PIDS=f"{nobody_here}")["checks"]["others"][0] == "ok"
    level, said = ask(driver[0], 0, FAKE_NVML_PIDS=f"{nobody_here},{nobody_here + 1}")["checks"]["others"]
    assert level == "warning" and "this run and 1 more" in said


def test_without_a_driver_the_record_says_why_no_power_is_known(driver):
    assert ask(driver[1], 0)["why"] == "no sensor of this card answers: NVML does not start: Driver Not Loaded"
    assert ask(driver[0], 7)["why"] == "no sensor of this card answers: NVML knows no such card"


def test_without_the_package_the_record_says_so(monkeypatch):
    from bench.machine import telemetry

    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert telemetry.why_no_sensor("GPU").endswith("nvidia-ml-py is not installed: pip install nvidia-ml-py")
    assert telemetry.why_no_sensor("CPU") == "no sensor of this card answers"
