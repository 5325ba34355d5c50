import pytest
import torch
from torch import nn

from bench.machine import ceilings
from bench.machine.device import Device
from bench.machine.discovery import DEVICES
from models.crnn import CRNN


class Machine:
    """A CPU on which every drained call takes what `costs` says."""

    def __init__(self, costs):
        self.now, self.costs = 0.0, iter(costs)
        self.kind, self.torch, self.compute_dtype = DEVICES["CPU"], torch.device("cpu"), None
        self.calls = 0

    def event_maker(self):
        return None

    def synchronize(self):
        self.calls += 1
        if self.calls % 2 == 0:
            self.now += next(self.costs)

    def clock(self):
        return self.now


def test_the_best_of_a_few_counts_the_first_does_not_and_the_spread_is_kept():
    machine = Machine([0.001, 0.9, 0.5, 0.4, 0.6, 0.7])
    timing = ceilings.time_repeats(lambda: None, machine, machine.clock)
    assert timing.best_s == pytest.approx(0.4)
    assert timing.spread_share == pytest.approx(0.6 / 0.4 - 1)


def test_a_product_too_short_to_time_is_doubled():
    machine = Machine([0.001] * 6 + [0.025] * 6)
    flops, timing = ceilings.time_gemm(machine, torch.float32, machine.clock)
    assert (flops, timing.best_s) == (2 * 512**3, pytest.approx(0.025))


def test_bytes_are_those_read_and_those_written():
    machine = Machine([0.5] * 6)
    size, timing = ceilings.time_copy(machine, machine.clock)
    assert (size, timing.best_s) == (2 * (1 << 26), pytest.approx(0.5))


class Card:
    """Each call takes 2 ms on the card; launching and draining take 5 ms of the host's."""

    def __init__(self):
        self.now = self.busy = 0.0
        self.calls = 0

    def event_maker(self):
        return lambda: CardEvent(self)

    def synchronize(self):
        self.now += 0.0025

    def work(self):
        self.busy, self.calls = self.busy + 0.002, self.calls + 1
        self.now += 0.002


class CardEvent:
    def __init__(self, card):
        self.card = card

    def record(self):
        self.at = self.card.busy

    def elapsed_time(self, other):
        return (other.at - self.at) * 1e3


def test_launching_and_draining_are_no_part_of_a_cards_ceiling():
    card = Card()
    timing = ceilings.time_repeats(card.work, card, lambda: card.now)
    assert timing.best_s == pytest.approx(0.002) and timing.spread_share == pytest.approx(0)
    assert card.calls > 5 * 2  # several between two events


def test_ceilings_are_of_random_numbers(monkeypatch):
    """Zeros and ones hardly switch a bit: an H200 multiplies them 13 % faster."""
    seen = []
    monkeypatch.setattr(ceilings, "LARGEST", 256)
    monkeypatch.setattr(torch, "mm", lambda a, b, out: seen.extend((a, b)))
    opened = Device.open("CPU", "BF16")
    ceilings.time_gemm(opened, torch.bfloat16, iter(range(100)).__next__)
    assert all(matrix.float().std() > 0.9 and matrix.dtype is torch.bfloat16 for matrix in seen)


def test_this_machine_has_limits():
    found = ceilings.measure_ceilings(Device.open("CPU"))
    assert found["dtype"] == "float32"
    assert found["gemm_flops_per_s"] > 1e9
    assert found["copy_bytes_per_s"] > 1e8
    assert found["gemm_spread_share"] >= 0 <= found["copy_spread_share"]


class Only(nn.Module):
    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        return self.layer(x)


def test_a_convolution_and_a_linear_layer_by_hand():
    assert ceilings.forward_flops(Only(nn.Conv2d(3, 8, 3, padding=1)), (1, 3, 10, 20)) == 2 * 3 * 9 * 8 * 200
    assert ceilings.forward_flops(Only(nn.Linear(16, 4)), (5, 16)) == 2 * 16 * 4 * 5


LSTM = nn.LSTM(8, 6, num_layers=2, bidirectional=True)
LSTM_FLOPS = 2 * 4 * 6 * ((8 + 6) + (12 + 6)) * 2 * 5  # gates x hidden x (inputs + hidden), layers, directions, steps


@pytest.mark.parametrize(("layer", "flops"), [(LSTM, LSTM_FLOPS), (nn.GRU(8, 6), 2 * 3 * 6 * (8 + 6) * 5)])
def test_recurrent_layers_are_counted_by_hand_and_by_torch_alike(layer, flops):
    assert ceilings.recurrent_flops(layer, torch.zeros(5, 1, 8)) == flops
    assert ceilings.forward_flops(Only(layer), (5, 1, 8)) == flops


def test_where_torch_counts_no_recurrent_layer_it_is_added():
    """On a CPU, as on a card, an LSTM is one call that the counter does not know."""
    with ceilings.FlopCounterMode(display=False) as counter, torch.no_grad():
        LSTM(torch.zeros(5, 1, 8))
    assert counter.get_total_flops() == 0
    assert ceilings.forward_flops(Only(LSTM), (5, 1, 8), device="cpu") == LSTM_FLOPS


def test_the_paper_networks_cost():
    """Convolutions by hand: output pixels x kernel x channels in x channels out; 1.41 GFLOP for a 32 x 100 picture."""
    assert ceilings.forward_flops(CRNN(), (1, 1, 32, 100)) == 1_410_287_616
    assert ceilings.forward_flops(CRNN(), (2, 1, 32, 100)) == 2 * 1_410_287_616
