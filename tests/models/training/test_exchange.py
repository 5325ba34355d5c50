"""Gradients of two gloo ranks, as float32 and as bfloat16, and in buckets of one mebibyte."""

import pytest
import torch
import torch.distributed as dist
from torch import multiprocessing, nn

from bench.machine.device import Device
from models.run.options import Exchange
from models.training.exchange import exchange_gradients
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


def gradients_of_ranks(gradients: str, sync: bool) -> list[list[float]]:
    context = multiprocessing.get_context("spawn")
    found, port = context.Queue(), free_port()
    processes = [context.Process(target=rank, args=(number, port, gradients, sync, found)) for number in (0, 1)]
    for process in processes:
        process.start()
    weights = sorted(found.get(timeout=60) for _ in processes)
    for process in processes:
        process.join(60)
    return [weight for _, weight in weights]


@pytest.mark.parametrize("gradients, relative", [("float32", 1e-6), ("bfloat16", 2**-8)])
def test_every_rank_has_the_mean_of_all(gradients, relative):
    weights = gradients_of_ranks(gradients, sync=True)
    assert weights[0] == weights[1] == pytest.approx([1 / 3 + 1 / 2] * 3, rel=relative)
    exact = weights[0][0] == pytest.approx(1 / 3 + 1 / 2, rel=1e-6)
    assert exact is (gradients == "float32")  # rounded to eight bits, or not


def test_without_sync_gradients_stay_where_they_are():
    assert gradients_of_ranks("float32", sync=False) == [pytest.approx([1 / 3] * 3), pytest.approx([4 / 3] * 3)]
