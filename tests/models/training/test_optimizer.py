"""Optimisers, schedules, clipping, and updates that are skipped."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from bench.machine.device import Device
from bench.machine.discovery import DEVICES
from models.run.options import Optimizer
from models.training import optimizer
from models.training.optimizer import (
    FUSED,
    MAX_SKIPS,
    OPTIMIZERS,
    READ_EVERY,
    SCHEDULES,
    Diverged,
    GuardedOptimizer,
    has_fused_kernel,
    one_cycle,
    scale_lr,
)

# These tests play a card on the CPU.
needs_fused = pytest.mark.skipif(
    not has_fused_kernel("adam", Device.open("CPU")), reason="one kernel for an update on a CPU is of torch 2.4"
)


def make(options=None, steps=100):
    torch.manual_seed(0)
    network = nn.Linear(2, 1)
    return GuardedOptimizer(network, Device.open("CPU"), options or Optimizer(), 1e-2, steps)


def loss(step, scale=1.0):
    return (step.network(torch.ones(1, 2)) * scale).sum()


def test_the_rate_scales_with_the_root_of_the_batch():
    assert scale_lr(Optimizer(lr=1e-4, lr_batch=32), 32) == pytest.approx(1e-4)
    assert scale_lr(Optimizer(lr=1e-4, lr_batch=32), 128) == pytest.approx(2e-4)


@pytest.mark.parametrize("name", OPTIMIZERS)
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_every_optimiser_with_every_schedule_lowers_a_loss(name, schedule):
    step = make(Optimizer(name=name, schedule=schedule))
    before = loss(step).item()
    for _ in range(20):
        step.minimise(loss(step))
    assert loss(step).item() < before


def test_one_cycle_is_torchs_own():
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1.0)
    theirs = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1.0, total_steps=1001, cycle_momentum=False)
    for step in range(1000):
        assert one_cycle(step / 1000) == pytest.approx(optimizer.param_groups[0]["lr"], abs=4e-3)
        optimizer.step()
        theirs.step()


def test_exponential_is_zhiqwangs_over_his_thirty_epochs():
    """His main.py multiplies by exp(-0.1) after each epoch."""
    rate = 1.0
    for epoch in range(30):
        assert SCHEDULES["exponential"](epoch / 30) == pytest.approx(rate)
        rate *= math.exp(-0.1)


def test_gradients_are_clipped_to_the_norm():
    step = make(Optimizer(name="sgd", clip=1.0, betas=(0.0, 0.0)))
    before = [p.detach().clone() for p in step.network.parameters()]
    step.minimise(loss(step, scale=1e6))
    moved = torch.cat([(p - b).flatten() for p, b in zip(step.network.parameters(), before, strict=True)])
    assert moved.norm().item() == pytest.approx(1e-2, rel=1e-3)  # rate x norm 1


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_step_that_is_not_finite_changes_nothing_and_is_counted(bad):
    step = make()
    before = [p.detach().clone() for p in step.network.parameters()]
    step.minimise(loss(step, scale=bad))
    assert all(torch.equal(p, b) for p, b in zip(step.network.parameters(), before, strict=True))
    assert step.skipped == 1
    step.minimise(loss(step))
    assert step.skips.tolist() == [1, 0, 1]  # in all, in a row now, in a row at most


def test_training_stops_after_twenty_bad_steps_in_a_row():
    step = make()
    for _ in range(MAX_SKIPS - 1):
        step.minimise(loss(step, scale=float("nan")))
    with pytest.raises(Diverged, match="20 steps in a row"):
        step.minimise(loss(step, scale=float("nan")))


def test_a_restored_optimizer_goes_on_as_if_it_had_never_stopped():
    one, other = make(Optimizer(schedule="one_cycle")), make(Optimizer(schedule="one_cycle"))
    for _ in range(3):
        one.minimise(loss(one))
    other.network.load_state_dict(one.network.state_dict())
    other.load_state_dict(one.state_dict())
    for step in (one, other):
        step.minimise(loss(step))
    assert torch.equal(one.network.weight, other.network.weight)
    assert one.lr == other.lr


@needs_fused
@pytest.mark.parametrize("name", FUSED)
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_card_skips_without_being_asked(name, bad):
    """As on CUDA: the kernel itself reads whether to change anything, and the host looks now and then."""
    step = make(Optimizer(name=name))
    assert step.fused
    step.waits = False
    step.minimise(loss(step))
    before = [p.detach().clone() for p in step.network.parameters()]
    moments = {k: v.clone() for k, v in step.optimizer.state[step.network.weight].items()}
    step.minimise(loss(step, scale=bad))
    assert all(torch.equal(p, b) for p, b in zip(step.network.parameters(), before, strict=True))
    assert all(torch.equal(v, moments[k]) for k, v in step.optimizer.state[step.network.weight].items())
    step.minimise(loss(step))
    assert not torch.equal(step.network.weight, before[0])
    assert step.skipped == 1


@needs_fused
def test_a_card_is_asked_now_and_then_whether_it_has_diverged():
    step = make()
    step.waits, step.reads_every = False, READ_EVERY
    for _ in range(MAX_SKIPS):
        step.minimise(loss(step, scale=float("nan")))
    with pytest.raises(Diverged):
        for _ in range(READ_EVERY):
            step.minimise(loss(step))


@needs_fused
@pytest.mark.parametrize("fused", [True, None])
def test_fused_and_plain_updates_agree_and_read_each_others_checkpoints(fused, monkeypatch):
    optimizers = [make()]
    monkeypatch.setattr(optimizer, "FUSED", ())
    optimizers.append(make())
    assert [s.fused for s in optimizers] == [True, None]
    for step in optimizers:
        for _ in range(5):
            step.minimise(loss(step))
    torch.testing.assert_close(optimizers[0].network.weight, optimizers[1].network.weight)
    one, other = optimizers if fused else optimizers[::-1]
    other.load_state_dict(one.state_dict())
    other.minimise(loss(other))
    one.minimise(loss(one))
    torch.testing.assert_close(one.network.weight, other.network.weight)


@needs_fused
def test_a_capturable_optimizer_reads_a_plain_ones_checkpoint_and_goes_on_alike():
    plain, options = make(Optimizer(schedule="one_cycle")), Optimizer(schedule="one_cycle")
    for _ in range(3):
        plain.minimise(loss(plain))
    torch.manual_seed(0)
    other = GuardedOptimizer(nn.Linear(2, 1), Device.open("CPU"), options, 1e-2, 100, capturable=True)
    other.network.load_state_dict(plain.network.state_dict())
    other.load_state_dict(plain.state_dict())
    assert isinstance(other.optimizer.param_groups[0]["lr"], torch.Tensor)
    for step in (plain, other):
        step.minimise(loss(step))
    torch.testing.assert_close(plain.network.weight, other.network.weight)
    plain.load_state_dict(other.state_dict())
    assert plain.optimizer.param_groups[0]["capturable"] is False
    assert plain.optimizer.param_groups[0]["lr"] == plain.peak_lr


def test_bad_gradients_may_be_set_to_zero_and_are_counted():
    """What dealwith_lossnan of the variable-width system does; a step of nothing but those is skipped nevertheless."""
    torch.manual_seed(0)
    network = nn.Linear(2, 1)
    step = GuardedOptimizer(network, Device.open("CPU"), Optimizer(name="sgd"), 1e-2, 100, nonfinite="zero")
    before = network.weight.detach().clone()
    step.minimise((network(torch.ones(1, 2)) * 1.0).sum() + network.weight[0, 0] * math.inf)
    assert network.weight[0, 0] == before[0, 0] and network.weight[0, 1] != before[0, 1]
    assert (step.zeroed_steps, step.skipped) == (1, 0)
    after = network.weight.detach().clone()
    step.minimise(loss(step, math.nan))
    assert torch.equal(network.weight, after) and (step.zeroed_steps, step.skipped) == (2, 1)
    resumed = make(Optimizer(name="sgd"))
    resumed.load_state_dict(step.state_dict())
    assert resumed.zeroed_steps == 2


class Fusing:
    """Adam as some extension might have it: `told` says what it does with a gradient that is not finite."""

    told, grad_scale, found_inf = "skips", None, None

    def __init__(self, parameters, lr):
        self.parameters, self.lr = parameters, lr

    def step(self):
        if not (self.told == "skips" and self.found_inf):
            for one in self.parameters:
                one.data -= self.lr


@pytest.mark.parametrize("told, has", [("skips", True), ("ignores", False), ("refuses", False)])
def test_a_card_is_asked_once_whether_its_fused_update_skips_by_itself(told, has, monkeypatch):
    asked = []

    def make_fusing(parameters, options, lr, **kinds):
        asked.append(kinds)
        if told == "refuses":
            raise RuntimeError("`fused=True` requires all the params to be floating point Tensors of supported devices")
        return Fusing(parameters, lr)

    monkeypatch.setattr(Fusing, "told", told)
    monkeypatch.setitem(OPTIMIZERS, "adam", make_fusing)
    card = Device(replace(DEVICES["CPU"], fused_adam=None), "FP32")
    assert [has_fused_kernel("adam", card) for _ in range(2)] == [has, has]
    assert asked == [{"fused": True}] and card.switches == {"fused_adam": has}
    assert not has_fused_kernel("sgd", card) and len(asked) == 1


def test_a_fused_update_that_ran_on_the_host_is_none(monkeypatch):
    card = Device(replace(DEVICES["CPU"], fused_adam=None), "FP32", fallbacks=["aten::gru"])

    class Falling(Fusing):
        def step(self):
            card.fallbacks.append("aten::_fused_adam_")
            super().step()

    monkeypatch.setitem(OPTIMIZERS, "adam", lambda parameters, options, lr, **kinds: Falling(parameters, lr))
    assert not has_fused_kernel("adam", card) and card.fallbacks == ["aten::gru"]
