"""The moving average of weights: what it is, that it is validated and kept, and that a run goes on with it."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from bench.errors import UserError
from models import train
from models.training.moving_average import MovingAverage
from models.weights import checkpoint

SMALL = [
    "--recipe", "crnn_small", "--device", "CPU", "--batch-size", "8", "--model.hidden", "8", "--data.width", "48",
    "--warmup-steps", "1", "--min-steps", "1", "--min-seconds", "0", "--log-every", "1", "--ema",
]  # fmt: skip


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(1, 1), nn.BatchNorm1d(1))


def set_weight(module, value):
    with torch.no_grad():
        module[0].weight.fill_(value)


def test_it_is_the_formula():
    module = network()
    set_weight(module, 5.0)
    average, mean = MovingAverage(module, 0.9), 5.0
    for n, value in enumerate([1.0, 2.0, 3.0] * 20, 1):
        set_weight(module, value)
        average.update()
        decay = min(0.9, (1 + n) / (10 + n))
        mean = decay * mean + (1 - decay) * value
    assert average.mean["0.weight"].item() == pytest.approx(mean, rel=1e-5)
    assert MovingAverage(module, None).state_dict() == {}


def test_the_weights_that_train_come_back_whatever_happens():
    module = network()
    average = MovingAverage(module, 0.5)
    before = module[0].weight.item()
    set_weight(module, before + 1)
    with pytest.raises(KeyboardInterrupt), average.in_place():
        assert module[0].weight.item() == pytest.approx(before)
        raise KeyboardInterrupt
    assert module[0].weight.item() == pytest.approx(before + 1)


def test_running_statistics_that_were_not_finite_once_are_not_so_for_ever():
    module = network()
    average = MovingAverage(module, 0.9)
    module[1].running_mean.fill_(math.nan)
    average.update()
    module[1].reset_running_stats()
    with average.in_place():
        assert torch.isfinite(module[1].running_mean).all()
    average.update()
    assert torch.isfinite(average.mean["1.running_mean"]).all()


def test_an_average_of_another_network_is_refused():
    average = MovingAverage(network(), 0.9)
    with pytest.raises(UserError, match="of another network"):
        average.load_state_dict({"mean": {"x": torch.zeros(1)}})


def content(folder, name):
    [path] = folder.glob(f"*/{name}")
    return checkpoint.read(path)


def test_a_run_validates_and_keeps_the_average_and_goes_on_with_it(sample, tmp_path):
    """Stopped after an epoch and resumed, from last.pt or from best.pt, it is the run that was never stopped."""

    def run(name, *options):
        places = ["--dataset", str(sample), "--results", str(tmp_path / "runs"), "--checkpoints", str(tmp_path / name)]
        train.main([*SMALL, *places, *options])

    constant = ["--optimizer.schedule", "constant"]
    run("whole", "--epochs", "2", *constant)
    run("stopped", "--epochs", "1", *constant)
    last, best = content(tmp_path / "stopped", "last.pt"), content(tmp_path / "stopped", "best.pt")
    floats = last["average"]["mean"].keys()
    assert all(torch.equal(best["network"][name], last["average"]["mean"][name]) for name in floats)
    assert any(not torch.equal(best["network"][name], last["network"][name]) for name in floats)
    for name in ("last.pt", "best.pt"):
        [path] = (tmp_path / "stopped").glob(f"*_1E_*/{name}")
        run(f"from-{name}", "--epochs", "2", "--resume", str(path), *constant)
        theirs, ours = content(tmp_path / "whole", "last.pt"), content(tmp_path / f"from-{name}", "last.pt")
        assert theirs["average"]["updates"] == ours["average"]["updates"] == ours["stepper"]["step"]
        for part in (theirs["network"], ours["network"]), (theirs["average"]["mean"], ours["average"]["mean"]):
            assert all(torch.equal(part[0][key], part[1][key]) for key in part[0])
    with pytest.raises(UserError, match=r"--ema \(0.999 then, None now\)"):
        train.main([*SMALL[:-1], "--dataset", str(sample), "--checkpoints", str(tmp_path / "whole"), "--epochs", "3",
                    "--resume", *constant])  # fmt: skip
