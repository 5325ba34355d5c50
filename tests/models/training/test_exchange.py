"""Gradients of two gloo ranks, as float32 and as bfloat16, in buckets of one mebibyte, and all at once."""

import pytest
import torch
import torch.distributed as dist
from torch import multiprocessing, nn

from bench.machine.device import Device
from models.run.options import Exchange, Optimizer
from models.training.cuda_graph import ExchangedGraphStep
from models.training.device_batch import DeviceBatch
from models.training.exchange import FlatGradients, exchange_gradients
from models.training.optimizer import GuardedOptimizer
from tests.support.ranks import free_port


def rank(number: int, port: int, gradients: str, sync: bool, found) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"tcp://127.0.0.1:{port}", rank=number, world_size=2)
    torch.manual_seed(0)
    network = exchange_gradients(nn.Linear(3, 1), Device.open("CPU"), Exchange(gradients, bucket_mb=1), sync)
    network(torch.full((1, 3), 1 / 3 + number)).sum().backward()
    found.put((number, network.module.weight.grad[0].tolist()))
    dist.barrier()
    dist.destroy_process_group()


def on_two_ranks(work, *arguments) -> list:
    """What each rank found by `work(rank, port, *arguments, queue)`."""
    context = multiprocessing.get_context("spawn")
    found, port = context.Queue(), free_port()
    processes = [context.Process(target=work, args=(number, port, *arguments, found)) for number in (0, 1)]
    for process in processes:
        process.start()
    weights = sorted(found.get(timeout=240) for _ in processes)
    for process in processes:
        process.join(60)
    return [weight for _, weight in weights]


@pytest.mark.parametrize("gradients, relative", [("float32", 1e-6), ("bfloat16", 2**-8)])
def test_every_rank_has_the_mean_of_all(gradients, relative):
    weights = on_two_ranks(rank, gradients, True)
    assert weights[0] == weights[1] == pytest.approx([1 / 3 + 1 / 2] * 3, rel=relative)
    exact = weights[0][0] == pytest.approx(1 / 3 + 1 / 2, rel=1e-6)
    assert exact is (gradients == "float32")  # rounded to eight bits, or not


def test_without_sync_gradients_stay_where_they_are():
    assert on_two_ranks(rank, "float32", False) == [pytest.approx([1 / 3] * 3), pytest.approx([4 / 3] * 3)]


CASES = [("float32", True), ("bfloat16", True), ("float32", False)]


def train_all(number: int, port: int, found) -> None:
    """Every case with DDP and beside a graph, in one pair of processes."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"tcp://127.0.0.1:{port}", rank=number, world_size=2)
    found.put((number, {(*case, graph): train(number, graph, *case) for case in CASES for graph in (False, True)}))
    dist.barrier()
    dist.destroy_process_group()


def train(number: int, graph: bool, gradients: str, sync: bool) -> list[list[float]]:
    """Six steps of a small network with batch norm; this rank's weights, statistics and gradients after each."""
    torch.manual_seed(number)  # other weights on each rank, until they are the leader's
    network = nn.Sequential(nn.Conv2d(1, 4, 3, bias=False), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(64, 2))
    network.to(memory_format=torch.channels_last)
    device, exchange = Device.open("CPU"), Exchange(gradients)
    optimizer = GuardedOptimizer(network, device, Optimizer(), 1e-2, 10, capturable=graph)
    model = network if graph else exchange_gradients(network, device, exchange, sync)
    torch.manual_seed(10 + number)
    images = [torch.randn(2 if step == 3 == number + 2 else 4, 1, 6, 6) for step in range(6)]  # one rank's has fewer

    def train_step(batch: DeviceBatch) -> torch.Tensor:
        loss = model(batch.images).pow(2).mean()
        optimizer.zero_grad()
        optimizer.scale(loss).backward()
        optimizer.update(optimizer.clip_gradients())
        return loss.detach()

    def to_device(batch: torch.Tensor) -> DeviceBatch:
        nothing = torch.zeros(0)
        return DeviceBatch(batch, None, nothing, nothing, nothing, None, len(batch), 1.0)

    step = lambda batch: train_step(to_device(batch))  # noqa: E731
    if graph:
        flat = FlatGradients(network, exchange, 2, sync)
        again = lambda work: ((result := torch.zeros(())), (lambda: result.copy_(work())))[::-1]  # noqa: E731
        step = ExchangedGraphStep(train_step, to_device, optimizer, flat, again, warmup=2)
    after = []
    for batch in images:
        optimizer.set_lr()
        step(batch)
        optimizer.count_step()
        state = [one.float().flatten() for one in network.state_dict().values()]
        state += [one.grad.flatten() for one in network.parameters()]
        after.append(torch.cat(state).tolist())
    return after


@pytest.fixture(scope="module")
def learned():
    return on_two_ranks(train_all)


@pytest.mark.parametrize("gradients, sync", CASES)
def test_beside_a_graph_ranks_learn_what_they_learn_with_ddp(gradients, sync, learned):
    plain, graph = ([rank[gradients, sync, graph] for rank in learned] for graph in (False, True))
    for one, other in zip(plain, graph, strict=True):
        torch.testing.assert_close(torch.tensor(one), torch.tensor(other), rtol=1e-4, atol=1e-5)
    assert (plain[0][-1][:36] == plain[1][-1][:36]) is sync  # and ranks with each other, or not
    assert (graph[0][-1][:36] == graph[1][-1][:36]) is sync
