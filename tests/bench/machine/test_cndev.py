"""libcndev read through ctypes: against a library compiled from its published layouts, and against partial ones."""

import ctypes
import shutil
import subprocess
from pathlib import Path

import pytest

from bench.machine.sensors import cndev
from bench.machine.sensors.cndev import Cndev
from bench.machine.sensors.cnmon import CardStatus
from tests.support import ROOT

SOURCE = ROOT / "tests/fake_mlu/cndev.c"
COMPILER = shutil.which("cc") or shutil.which("gcc")


@pytest.fixture
def build(tmp_path):
    """Compile the fake libcndev; a new file each time, because dlopen remembers paths."""
    if COMPILER is None:
        pytest.skip("no C compiler")

    def compiled(name: str = "libcndev.so", **macros: int) -> Path:
        target = tmp_path / name
        definitions = [f"-D{macro}={value}" for macro, value in macros.items()]
        subprocess.run([COMPILER, "-shared", "-fPIC", "-Werror", *definitions, "-o", target, SOURCE], check=True)
        return target

    return compiled


READINGS = {
    5: CardStatus(0, "MLU370-X8", "5.10.13", 106, 52, 87, 1204, 23374),
    6: CardStatus(0, "MLU590-M9", "6.10.13", 212, 52, 87, 33654, 98304),
}


@pytest.mark.parametrize("api", READINGS)
def test_every_quantity_comes_from_its_own_field_in_both_versions(build, api):
    first, second = Cndev.open(ctypes.CDLL(str(build(API=api)))).read()
    assert first == READINGS[api]
    assert (second.card, second.utilisation_percent) == (1, 88)


# Offsets of cndev.h on a 64-bit machine: a version of 4 bytes, then padding to 8 before 64-bit fields.
OFFSETS = {
    (cndev.CardCount, "number"): 4,
    (cndev.VersionInfo, "driver"): 16,
    (cndev.MemoryV2, "total"): 0,
    (cndev.MemoryV2, "used"): 8,
    (cndev.MemoryV1, "total"): 8,
    (cndev.MemoryV1, "used"): 16,
    (cndev.PowerV2, "usage"): 0,
    (cndev.PowerV1, "usage"): 4,
    (cndev.Temperature, "chip"): 4 + 4 + 20 * 4 + 8 * 4,
    (cndev.Utilisation, "average"): 4,
}


@pytest.mark.parametrize(("structure", "field"), OFFSETS)
def test_fields_lie_where_the_header_puts_them(structure, field):
    assert getattr(structure, field).offset == OFFSETS[structure, field]


def test_recorded_bytes_are_read_as_a_temperature():
    words = [6, 41, *range(1, 21), *range(61, 69), 77]
    recorded = b"".join(word.to_bytes(4, "little") for word in words).ljust(ctypes.sizeof(cndev.Temperature), b"\0")
    assert cndev.Temperature.from_buffer_copy(recorded).chip == 77


class Partial:
    """A library that counts one card and exports nothing else; what it lacks is an AttributeError, as in ctypes."""

    def cndevInit(self, reserved):  # noqa: N802
        return 0

    def cndevGetDeviceCount(self, count):  # noqa: N802
        count._obj.number = 1
        return 0


def test_what_a_library_does_not_export_is_none_and_not_zero():
    assert Cndev.open(Partial()).read() == [CardStatus(0)]


def test_a_library_whose_driver_does_not_answer_is_none(build):
    assert Cndev.open(ctypes.CDLL(str(build(API=6, CARDS=0)))) is None


def test_no_library_is_none(monkeypatch, tmp_path):
    monkeypatch.setenv("NEUWARE_HOME", str(tmp_path))
    assert cndev.read_cndev() is None


def test_a_file_that_is_no_library_is_none(monkeypatch, tmp_path):
    (tmp_path / "lib64").mkdir()
    (tmp_path / "lib64/libcndev.so").write_text("not an ELF file")
    monkeypatch.setenv("NEUWARE_HOME", str(tmp_path))
    assert cndev.read_cndev() is None


def test_the_library_in_the_neuware_folder_is_found(build, monkeypatch, tmp_path):
    (tmp_path / "lib64").mkdir()
    build("lib64/libcndev.so", API=6)
    monkeypatch.setenv("NEUWARE_HOME", str(tmp_path))
    assert [reading.name for reading in cndev.read_cndev()] == ["MLU590-M9", "MLU590-M9"]
