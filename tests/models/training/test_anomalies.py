"""Training that goes wrong without failing."""

from __future__ import annotations

import torch
from torch import nn

from models.training.anomalies import WINDOW, AnomalyMonitor

NAN = float("nan")


def test_a_loss_that_climbs_is_said_once_and_again_after_it_fell():
    watch, losses = AnomalyMonitor(), [4.0] * WINDOW
    said = [watch.check_losses(losses := losses + [loss] * WINDOW, 0) for loss in (2.0, 2.1, 9.0, 12.0, 2.0, 9.0)]
    assert [bool(one) for one in said] == [False, False, True, False, False, True]
    assert "climbed from 2 to 9" in said[2]


def test_what_overfits_may_move():
    assert AnomalyMonitor().check_losses([0.01] * WINDOW + [0.1] * WINDOW, 0) is None


def test_few_losses_that_are_not_finite_hide_nothing_and_all_of_them_are_a_climb():
    assert AnomalyMonitor().check_losses([2.0] * WINDOW + [2.0, NAN] * (WINDOW // 2), 0) is None
    assert "inf" in AnomalyMonitor().check_losses([2.0] * WINDOW + [NAN] * WINDOW, 0)


def test_skipped_steps_are_said_when_there_are_more_of_them():
    watch = AnomalyMonitor()
    assert [bool(watch.check_losses([], skipped)) for skipped in (0, 1, 1, 3)] == [False, True, False, True]
    assert watch.noticed["skipped"].endswith("3 steps")


def test_nothing_but_blanks_is_said():
    assert AnomalyMonitor().check_texts(["", "a"]) is AnomalyMonitor().check_texts([]) is None
    assert "all 2 validation words are read as empty" in AnomalyMonitor().check_texts(["", ""])


def test_running_statistics_that_are_not_finite_start_anew():
    network = nn.Sequential(nn.BatchNorm1d(2), nn.BatchNorm1d(2))
    network[1].running_var[0] = NAN
    network[0].running_mean[0] = 3
    assert "1 layers" in AnomalyMonitor().reset_statistics(network)
    assert (network[0].running_mean[0], network[1].running_var.tolist()) == (3, [1, 1])
    assert torch.isfinite(network[1].running_mean).all()
    assert AnomalyMonitor().reset_statistics(network) is None
