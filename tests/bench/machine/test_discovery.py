"""Why no more cards are here. The library that does not load, and the variable that hides: system/test_mlu_runs.py."""

import ctypes
import re
import subprocess

import pytest
import torch

from bench.errors import UserError
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


def test_a_torch_without_cuda_says_so_and_not_that_the_driver_shows_nothing(tmp_path, monkeypatch):
    """A CPU build on a GPU host; in a Slurm job even CUDA_VISIBLE_DEVICES was to be unset."""
    monkeypatch.setattr(torch.version, "cuda", None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    cards, why = discovery.count_cards(DEVICES["GPU"])
    assert cards == 0 and re.fullmatch(r"torch \S+ is built without CUDA: install one with it .*", why)
    with pytest.raises(UserError, match=r"1 GPU asked for; found .* is built without CUDA"):
        discovery.require("GPU", 1)


def test_a_gpu_that_nobody_chose_and_that_does_not_answer_is_not_passed_over_in_silence(tmp_path, monkeypatch):
    """CRNN_Infer.sh on a CPU build beside /dev/nvidia0 measured the CPU without a word."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(torch.version, "cuda", None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert discovery.missing_devices(tmp_path) == []
    for node in ("nvidia0", "nvidiactl", "nvidia-uvm"):
        (tmp_path / node).touch()
    [said] = discovery.missing_devices(tmp_path)
    assert said.startswith("no GPU is used: torch ") and "built without CUDA" in said


@pytest.mark.parametrize(
    ("driver", "built", "said"),
    [
        ((12, 4), "13.0", "the driver knows CUDA 12.4 and torch .* is built for 13.0: it wants driver 580 or later"),
        ((12, 4), "12.6", ""),  # CUDA's minor versions are compatible
        ((13, 0), "12.6", ""),
        (None, "13.0", ""),  # no driver at all is another sentence
    ],
)
def test_a_driver_too_old_for_this_torch_is_named_with_the_way_out(driver, built, said, monkeypatch):
    monkeypatch.setattr(torch.version, "cuda", built)
    monkeypatch.setattr(discovery, "driver_cuda", lambda: driver)
    assert re.match(said + ("" if said else "$"), discovery.wrong_cuda())


def test_what_the_driver_knows_is_asked_of_its_library(tmp_path, monkeypatch):
    """A library of that name, compiled here, in place of the driver's."""
    source, library = tmp_path / "cuda.c", tmp_path / "libcuda.so.1"
    source.write_text("int cuDriverGetVersion(int *version) { *version = 12040; return 0; }\n")
    subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source], check=True)
    load = ctypes.CDLL
    monkeypatch.setattr(discovery.ctypes, "CDLL", lambda name: load(library if name == "libcuda.so.1" else name))
    assert discovery.driver_cuda() == (12, 4)
    monkeypatch.setattr(discovery.ctypes, "CDLL", lambda name: load("/nowhere/libcuda.so.1"))
    assert discovery.driver_cuda() is None
