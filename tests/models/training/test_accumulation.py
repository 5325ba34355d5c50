"""Gradient accumulation is the big batch where that is exact; ranks exchange once a step; what cannot be is refused."""

from __future__ import annotations

import json

import pytest
import torch
import torch.distributed as dist
from torch import multiprocessing, nn

from bench.errors import UserError
from bench.machine.device import Device
from bench.records.checks import validate_file
from models import train
from models.run.options import Exchange, Optimizer, Train
from models.training.accumulation import AccumulatedStep, BatchGroups, check_accumulation
from models.training.exchange import exchange_gradients
from models.training.optimizer import GuardedOptimizer
from models.weights import checkpoint
from tests.support.ranks import free_port

SMALL = [
    "--recipe", "crnn_small", "--device", "CPU", "--model.hidden", "8", "--data.width", "48", "--warmup-steps", "1",
    "--min-steps", "1", "--min-seconds", "0", "--log-every", "1", "--allow", "batch,optimizer",
]  # fmt: skip


class Runs:
    def __init__(self, folder, data):
        self.folder, self.data = folder, data

    def train(self, name, *options):
        """The record, and the weights at its end."""
        places = ["--dataset", str(self.data), "--checkpoints", str(self.folder / name)]
        train.main([*SMALL, *places, "--results", str(self.folder / f"{name}-runs"), *options])
        [path] = (self.folder / f"{name}-runs").glob("*.json")
        return json.loads(path.read_text()), self.last(name)

    def last(self, name, file="last.pt"):
        [path] = (self.folder / name).glob(f"*/{file}")
        return checkpoint.read(path)


@pytest.fixture
def runs(sample, tmp_path):
    return Runs(tmp_path, sample)


def same(one, other):
    return all(torch.allclose(value, other[name], rtol=1e-4, atol=1e-6) for name, value in one.items())


def test_two_batches_are_one_of_twice_the_size(runs):
    """Over the end of an epoch, whose last step is short. The backbone is frozen: its batch norm sees whole batches."""
    runs.train("start", "--batch-size", "8", "--steps", "1")
    [start] = (runs.folder / "start").glob("*/last.pt")
    begin = ["--start-from", str(start), "--freeze", "backbone", "--steps", "9"]
    big, whole = runs.train("big", "--batch-size", "16", *begin)
    parts, summed = runs.train("parts", "--batch-size", "8", "--accumulate", "2", *begin)
    assert parts["training"]["loss"] == pytest.approx(big["training"]["loss"], rel=1e-4)
    assert same(summed["network"], whole["network"])
    assert not same(summed["network"], runs.last("start")["network"])  # something was learned
    assert parts["series"][0]["images"] == big["series"][0]["images"] == [*[16] * 6, 13, 16, 16]
    rounded = {key: summed["position"][key] for key in ("best", "losses")}  # sums of float32 in another order
    assert summed["position"] == {**whole["position"], **rounded}
    assert rounded["losses"] == [pytest.approx(one, rel=1e-4) for one in whole["position"]["losses"]]
    assert (parts["cell"]["batch_per_card"], parts["cell"]["global_batch"], parts["cell"]["accumulated"]) == (16, 16, 2)
    assert "accumulated" not in big["cell"]
    [path] = (runs.folder / "parts-runs").glob("*.json")
    assert validate_file(path) == []


def test_what_is_frozen_stays_and_has_weights_to_keep(runs):
    with pytest.raises(UserError, match="these are random: name some with --start-from"):
        runs.train("random", "--batch-size", "8", "--steps", "1", "--freeze", "backbone")
    runs.train("start", "--batch-size", "8", "--steps", "1")
    [start] = (runs.folder / "start").glob("*/last.pt")
    before = runs.last("start")["network"]
    record, after = runs.train(
        "tuned", "--batch-size", "8", "--steps", "2", "--start-from", str(start), "--freeze", "backbone"
    )
    moved = {name for name, value in after["network"].items() if not torch.equal(value, before[name])}
    assert moved and not any(name.startswith("backbone") for name in moved)  # running statistics are part of it
    assert record["cell"]["frozen"] == "backbone" and record["efficiency"]["mfu_share"] is None


@pytest.mark.parametrize(
    ("options", "ranks", "said"),
    [
        (Train(accumulate=2, graph=True), 1, "does not go with --graph"),
        (Train(accumulate=2, compile=True), 2, "does not go with --compile on several cards"),
        (Train(accumulate=2, without="compute"), 1, "does not go with --without compute"),
    ],
)
def test_what_cannot_be_accumulated_is_refused(options, ranks, said):
    with pytest.raises(UserError, match=said):
        check_accumulation(options, ranks)
    options.accumulate = 1
    check_accumulation(options, ranks)


def test_batches_come_in_groups_and_none_is_lost():
    groups = BatchGroups(range(7), 3)
    assert list(groups) == list(groups) == [[0, 1, 2], [3, 4, 5], [6]]


def rank(number: int, port: int, found) -> None:
    """A step of three batches, whose inputs are 1, 2, 3 on the first rank and ten times that on the second."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"tcp://127.0.0.1:{port}", rank=number, world_size=2)
    torch.manual_seed(0)
    network = nn.Linear(1, 1, bias=False)
    model = exchange_gradients(network, Device.open("CPU"), Exchange())
    travelled = []

    def count(state, bucket):
        travelled.append(bucket.buffer().clone())
        return dist.all_reduce(bucket.buffer(), async_op=True).get_future().then(lambda sum_: sum_.value()[0] / 2)

    model.register_comm_hook(None, count)
    optimizer = GuardedOptimizer(network, Device.open("CPU"), Optimizer(name="sgd", clip=0.0), 1.0, 10)

    def train_step(value):
        optimizer.zero_grad()
        loss = model(torch.full((1, 1), value)).sum()
        loss.backward()
        optimizer.update(optimizer.clip_gradients())
        return loss.detach()

    before = network.weight.item()
    AccumulatedStep(train_step, optimizer, model)([value * 10**number for value in (1.0, 2.0, 3.0)])
    found.put((number, len(travelled), before - network.weight.item()))
    dist.barrier()
    dist.destroy_process_group()


def test_ranks_exchange_gradients_once_a_step():
    context = multiprocessing.get_context("spawn")
    found, port = context.Queue(), free_port()
    processes = [context.Process(target=rank, args=(number, port, found)) for number in (0, 1)]
    for process in processes:
        process.start()
    results = sorted(found.get(timeout=120) for _ in processes)
    for process in processes:
        process.join(60)
    mean = (6 + 60) / 2  # of the ranks' sums: the step of SGD with a rate of 1
    assert results == [(0, 1, pytest.approx(mean)), (1, 1, pytest.approx(mean))]
