"""Why no more cards are here. The library that does not load, and the variable that hides: system/test_mlu_runs.py."""

import pytest

from bench.machine import discovery
from bench.machine.discovery import DEVICES, silent_nodes, visibility


@pytest.mark.parametrize(
    ("name", "environment", "chosen"),
    [
        ("MLU", {}, None),
        ("MLU", {"CUDA_VISIBLE_DEVICES": ""}, ("CUDA_VISIBLE_DEVICES", "")),
        ("MLU", {"CUDA_VISIBLE_DEVICES": "", "MLU_VISIBLE_DEVICES": "0"}, ("MLU_VISIBLE_DEVICES", "0")),
        ("MLU", {"MLU_VISIBLE_DEVICES": "0", "CN_VISIBLE_DEVICES": "1"}, ("CN_VISIBLE_DEVICES", "1")),
        ("GPU", {"MLU_VISIBLE_DEVICES": "0"}, None),
        ("CPU", {"CUDA_VISIBLE_DEVICES": "0"}, None),
    ],
)
def test_the_variable_that_picks_cards_is_the_librarys_own_choice(name, environment, chosen):
    assert visibility(DEVICES[name], environment) == chosen


def test_a_library_that_is_not_installed_is_named():
    assert discovery.count_cards(DEVICES["MLU"]) == (0, "torch_mlu is not installed")
    assert discovery.count_cards(DEVICES["CPU"]) == (1, "")


def test_nodes_without_cards_that_answer_are_a_fault_of_the_health_check(tmp_path, monkeypatch):
    for node in ("cambricon_dev0", "cambricon_dev1", "cambricon_ctl"):
        (tmp_path / node).touch()
    for name in DEVICES["MLU"].visible:
        monkeypatch.delenv(name, raising=False)
    assert silent_nodes(tmp_path) == [f"0 of 2 MLU answer (cambricon_dev0, cambricon_dev1 in {tmp_path})"]
    monkeypatch.setenv("MLU_VISIBLE_DEVICES", "0")  # somebody chose: fewer are meant to answer
    assert silent_nodes(tmp_path) == []
