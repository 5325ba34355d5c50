"""The card's self-check: on a card with `pytest -m card`, and here that a wrong result is seen."""

import os
import subprocess
import sys

import pytest
import torch

from bench.machine import discovery
from benchmarks.card import check
from benchmarks.card.check import CHECKS, Setting, WrongResult
from tests.support import ROOT

CARD = next((name for name in ("MLU", "GPU") if discovery.present(name)), None)


@pytest.mark.card
@pytest.mark.skipif(CARD is None, reason="no card is here")
@pytest.mark.parametrize("name", [name for name, _, _ in CHECKS])
def test_this_card(name):
    images = torch.randint(0, 256, (64, 1, 32, 100), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    [found] = [one(Setting(CARD, images, ["noise"] * 64)) for known, one, _ in CHECKS if known == name]
    print(found)


@pytest.fixture(scope="module")
def here():
    images = torch.randint(0, 256, (2, 1, 32, 100), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return Setting("CPU", images, ["noise", "x1"])


@pytest.mark.slow
def test_the_whole_check_runs_on_the_stand_in_of_an_mlu():
    """Which has no sensors: that alone is wrong there, and is named."""
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'tests/fake_mlu'}:{ROOT}", "FAKE_MLU_NAME": "MLU590-M9"}
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.card.check", "--device", "MLU", "--count", "2"],
        cwd=ROOT, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1 and done.stdout.splitlines()[-1].endswith("WRONG: sensor"), done.stdout


def test_a_forward_pass_and_a_loss_that_are_right_pass(here):
    assert "texts alike" in check.check_forward("FP32", here)
    assert "losses within" in check.check_ctc(here)


def test_weights_that_are_off_are_seen_in_the_logits(here, monkeypatch):
    def spoil(network, device):
        network = check.build(check.Model())
        network.load_state_dict(check.trained().state_dict())
        network.head.weight.data *= 1.01
        return network

    monkeypatch.setattr(check, "on_device", spoil)
    with pytest.raises(WrongResult, match="logits within"):
        check.check_forward("FP32", here)


def test_a_loss_that_is_off_is_seen(here, monkeypatch):
    monkeypatch.setattr(check, "ctc_losses", lambda *a: check_losses(*a) * 1.01)
    with pytest.raises(WrongResult, match="losses within"):
        check.check_ctc(here)


check_losses = check.ctc_losses


def test_a_step_that_swallows_what_is_not_a_number_is_seen(here, monkeypatch):
    """As if the optimiser were not guarded."""
    monkeypatch.setattr(check.GuardedOptimizer, "update", lambda self, norm: self.optimizer.step())
    with pytest.raises(WrongResult, match="0 steps were counted as skipped"):
        check.check_poison("FP32", False, here)


def test_a_check_that_breaks_is_wrong_and_the_others_are_made(here, monkeypatch):
    def breaks(at):
        raise RuntimeError("CUDA error: unspecified launch failure")

    monkeypatch.setattr(check, "CHECKS", (("first", breaks, "Train"), ("second", lambda at: "fine", check.NONE)))
    first, second = check.verdicts(here)
    assert (first.wrong, first.said) == (True, "RuntimeError: CUDA error: unspecified launch failure")
    assert not second.wrong
