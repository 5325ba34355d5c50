"""`cnmon` in every form it is known in. Tables are published output; `info` and JSON are made from the known keys."""

import json
import subprocess
import sys

import pytest

from bench.machine.sensors import cnmon
from bench.machine.sensors.cnmon import CardStatus, parse_info, parse_json, parse_table

# PaddlePaddle's install page for MLU: two chips of one MLU370-X8 board.
TABLE_5_10 = """\
+------------------------------------------------------------------------------+
| CNMON v5.10.13                                               Driver v5.10.13 |
+-------------------------------+----------------------+-----------------------+
| Card  VF  Name       Firmware |               Bus-Id | Util        Ecc-Error |
| Fan   Temp      Pwr:Usage/Cap |         Memory-Usage | SR-IOV   Compute-Mode |
|===============================+======================+=======================|
| 0     /   MLU370-X8    v1.1.6 |         0000:39:00.0 | 0%                N/A |
|  0%   32C        106 W/ 250 W |     0 MiB/ 23374 MiB | N/A           Default |
+-------------------------------+----------------------+-----------------------+
| 1     /   MLU370-X8    v1.1.6 |         0000:3D:00.0 | 0%                N/A |
|  0%   39C        106 W/ 250 W |     0 MiB/ 23374 MiB | N/A           Default |
+-------------------------------+----------------------+-----------------------+

+------------------------------------------------------------------------------+
| Processes:                                                                   |
|  Card  MI  PID     Command Line                             MLU Memory Usage |
|==============================================================================|
|  No running processes found                                                  |
+------------------------------------------------------------------------------+
"""

# The same page for an older driver (three cards, one kept here).
TABLE_4_20 = """\
Sat Oct  8 11:22:22 2022
+------------------------------------------------------------------------------+
| CNMON v4.20.11                                                               |
+-------------------------------+----------------------+-----------------------+
| Card  VF  Name       Firmware | Inited        Driver | Util        Ecc-Error |
| Fan   Temp      Pwr:Usage/Cap |         Memory-Usage |         vMemory-Usage |
|===============================+======================+=======================|
| 2     /   MLU370-X4    v1.1.6 | On          v4.20.11 | 0%          N/A       |
|  0%   30C         26 W/ 150 W |     0 MiB/ 23308 MiB | 10240 MiB/1048576 MiB |
+-------------------------------+----------------------+-----------------------+
"""

# A CNStream page: narrower columns, watts with decimals.
TABLE_EDGE = """\
| CNMON 1.16.0                                                                |
+------------------------------+----------------------+-----------------------+
| 0     /   MLU220-M2   v1.1.1 | On            v4.6.9 | 0%          N/A       |
|  0%   51C     3.70 W/ 8.25 W |   967 MiB/  4096 MiB | 10240 MiB/1048576 MiB |
"""

INFO = """\
Card 0
    Product Name                   : MLU370-X8
    Driver                         : v5.10.13
    Utilization
        MLU Average                : 87 %
        MLU 0                      : 12 %
    Physical Memory Usage
        Total                      : 23374 MiB
        Used                       : 1204 MiB
    Virtual Memory Usage
        Total                      : 1048576 MiB
        Used                       : 10240 MiB
    Temperature
        Board                      : 31 C
        Chip                       : 52 C
    Power
        Usage                      : 106 W
        Cap                        : 250 W
Card 1
    Product Name                   : MLU370-X8
    Utilization                    :
        MLU Average                : N/A
"""

JSON = {
    "CnmonInfo": [
        {
            "CardNum": 3,
            "ProductName": "MLU590-M9",
            "UUID": "1",
            "PhysicalMemUsage": {"Total": 98304, "Used": 33654},
            "Temperature": {"Chip": "44 C"},
            "Utilization": {"MLUAverage": 99},
        }
    ]
}

INFO_CARDS = [CardStatus(0, "MLU370-X8", "5.10.13", 106, 52, 87, 1204, 23374), CardStatus(1, "MLU370-X8")]


def test_the_table_of_drivers_since_5_10_takes_the_driver_from_its_heading():
    assert parse_table(TABLE_5_10) == [
        CardStatus(0, "MLU370-X8", "5.10.13", 106, 32, 0, 0, 23374),
        CardStatus(1, "MLU370-X8", "5.10.13", 106, 39, 0, 0, 23374),
    ]


def test_the_table_of_older_drivers_takes_it_from_the_row_and_not_virtual_memory():
    assert parse_table(TABLE_4_20) == [CardStatus(2, "MLU370-X4", "4.20.11", 26, 30, 0, 0, 23308)]


def test_decimals_and_narrow_columns_are_read():
    assert parse_table(TABLE_EDGE) == [CardStatus(0, "MLU220-M2", "4.6.9", 3.7, 51, 0, 967, 4096)]


def test_a_cell_without_a_number_is_none_and_not_zero():
    row = TABLE_5_10.replace("106 W/ 250 W", "N/A W/ 250 W").replace("32C", "N/A").replace("| 0%  ", "| N/A ", 1)
    first = parse_table(row)[0]
    assert (first.power_w, first.temperature_c, first.utilisation_percent) == (None, None, None)
    assert first.memory_total_mib == 23374


def test_a_process_is_not_a_card():
    process = "|  0     /   4242    v1.0 |  python -m models.train |  100% | "
    text = TABLE_5_10.replace("|  No running processes found", process)
    assert len(parse_table(text)) == 2


def test_info_reads_each_key_in_its_own_section():
    assert parse_info(INFO) == INFO_CARDS


@pytest.mark.parametrize("change", [str.upper, lambda t: t.replace(" :", ":"), lambda t: t.replace("    ", "\t")])
def test_info_does_not_depend_on_case_or_spaces(change):
    assert [r.memory_used_mib for r in parse_info(change(INFO))] == [1204, None]


def test_json_reads_what_it_has():
    assert parse_json(json.dumps(JSON)) == [CardStatus(3, "MLU590-M9", None, None, 44, 99, 33654, 98304)]


def test_json_of_another_shape_has_cards_without_quantities():
    other = {"CnmonInfo": [{"Temperature": "44 C", "Power": None}, "card"]}
    assert parse_json(json.dumps(other)) == [CardStatus(0)]


@pytest.mark.parametrize("text", ["", "{}", '{"CnmonInfo": 3}', "[]", "card 0 not existed"])
def test_other_text_holds_no_cards(text):
    assert parse_table(text) == parse_info(text) == []
    with pytest.raises(ValueError, match=r"CnmonInfo|Expecting"):
        parse_json(text)


@pytest.fixture
def install(monkeypatch, tmp_path):
    """Put a `cnmon` on the path that runs the given Python with `command` holding its arguments."""

    def write(body: str) -> None:
        tool = tmp_path / "cnmon"
        tool.write_text(f"#!{sys.executable}\nimport sys\ncommand = ' '.join(sys.argv[1:])\n{body}\n")
        tool.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path))

    return write


def test_the_table_is_asked_first(install):
    install(f"assert not command\nprint('''{TABLE_5_10}''')")
    assert [r.power_w for r in cnmon.read_cnmon()] == [106, 106]


def test_info_answers_where_the_table_is_of_another_shape(install):
    install(f"print({{'': 'a new layout', 'info': '''{INFO}'''}}[command])")
    assert cnmon.read_cnmon() == INFO_CARDS


def test_json_is_written_to_a_folder_of_its_own(install, monkeypatch, tmp_path):
    install(f"if '-j' in command: open('cnmon_info.json', 'w').write({json.dumps(json.dumps(JSON))})")
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    assert [r.card for r in cnmon.read_cnmon()] == [3]
    assert list(here.iterdir()) == []


@pytest.mark.parametrize(
    "body", ["sys.exit(1)", "print('no driver')", "if '-j' in command: open('cnmon_info.json', 'w').write('{')"]
)
def test_a_tool_that_fails_or_says_something_else_is_none(install, body):
    install(body)
    assert cnmon.read_cnmon() is None


def test_a_tool_that_hangs_is_none(install, monkeypatch):
    monkeypatch.setattr(cnmon, "TIMEOUT_S", 0.2)
    install("import time; time.sleep(30)")
    assert cnmon.read_cnmon() is None


def test_no_tool_is_none(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert cnmon.read_cnmon() is None


def test_the_readers_do_not_import_torch():
    code = "import sys, bench.machine.sensors.cnmon, bench.machine.sensors.cndev; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
