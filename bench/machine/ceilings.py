"""What the device can do at best, measured in the same process as the run: a matrix product and a copy, under a second.

Vendors' peaks are for clocks and shapes that a run never sees. A ceiling measured here, in the run's own precision and
at the heat it left behind, is one that the run could have reached.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from bench.machine.device import Device

SLICE_S = 0.02  # a timed call takes at least this long, so that launching it costs nothing
ROUNDS = 5  # the best of them counts: a ceiling, not a mean
LARGEST = 8192  # n of the n x n product: 268 MB a matrix in float32
COPY_BYTES = {"cpu": 1 << 26}  # well beyond a processor's caches; cards get four times that
COPY_BYTES_CARD = 1 << 28


def measure(device: Device) -> dict:
    """The GEMM and copy ceiling, as a record keeps them. Memory is given back before it returns."""
    dtype = device.compute_dtype or torch.float32
    return {
        "dtype": str(dtype).removeprefix("torch."),
        "gemm_flops_per_s": gemm(device, dtype, time.perf_counter if device.kind.type != "cpu" else busy),
        "copy_bytes_per_s": copied(device, time.perf_counter),
    }


def busy() -> float:
    """Seconds that this process's threads were given, each: what others take from a shared CPU lowers no ceiling."""
    return time.process_time() / torch.get_num_threads()


def gemm(device: Device, dtype: torch.dtype, clock) -> float:
    """Operations a second of the best square product, a multiply-add being two."""
    n, seconds = 256, 0.0
    while True:
        a = torch.ones(n, n, device=device.torch, dtype=dtype)
        b, out = torch.ones_like(a), torch.empty_like(a)
        with torch.inference_mode():
            seconds = best(lambda a=a, b=b, out=out: torch.mm(a, b, out=out), device, clock)
        if seconds >= SLICE_S or n == LARGEST:
            return 2 * n**3 / seconds
        n *= 2


def copied(device: Device, clock) -> float:
    """Bytes read and written a second."""
    size = COPY_BYTES.get(device.kind.type, COPY_BYTES_CARD)
    source = torch.ones(size, dtype=torch.uint8, device=device.torch)
    target = torch.empty_like(source)
    return 2 * size / best(lambda: target.copy_(source), device, clock)


def best(work: Callable[[], object], device: Device, clock) -> float:
    """Seconds of the fastest of a few drained calls; the first, which finds kernels and memory, does not count."""
    took = []
    for _ in range(ROUNDS + 1):
        device.synchronize()
        began = clock()
        work()
        device.synchronize()
        took.append(clock() - began)
    return min(took[1:])


def forward_flops(network: nn.Module, pictures: tuple[int, ...], device: str = "meta") -> int:
    """Operations of one forward pass over pictures (N, C, H, W), a multiply-add being two: torch's own count.

    Counted on a copy without storage ("meta"), where recurrent layers fall apart into products that the counter sees;
    on a device they are one call that it does not know. A version of torch that counts them nowhere gets them added.
    """
    shadow = copy.deepcopy(network).to(device).eval()
    counter, missed = FlopCounterMode(display=False), []
    for module in shadow.modules():
        if isinstance(module, nn.LSTM | nn.GRU):
            watch(module, counter, missed)
    with torch.no_grad(), counter:
        shadow(torch.zeros(pictures, device=device))
    return counter.get_total_flops() + sum(missed)


def watch(module: nn.RNNBase, counter: FlopCounterMode, missed: list[int]) -> None:
    """Note what the counter leaves out of one recurrent layer."""
    before = []
    module.register_forward_pre_hook(lambda *_: before.append(counter.get_total_flops()))

    def after(layer, inputs, _) -> None:
        counted = counter.get_total_flops() - before.pop()
        missed.append(max(0, recurrent_flops(layer, inputs[0]) - counted))

    module.register_forward_hook(after)


def recurrent_flops(layer: nn.RNNBase, sequence: torch.Tensor) -> int:
    """Each step and direction multiplies the input and the state by the weights of all gates; the rest is small."""
    gates = {nn.LSTM: 4, nn.GRU: 3}[type(layer)]
    steps, directions = sequence.shape[0] * sequence.shape[1], 1 + layer.bidirectional
    inputs = [layer.input_size] + [layer.hidden_size * directions] * (layer.num_layers - 1)
    return sum(2 * gates * layer.hidden_size * (n + layer.hidden_size) for n in inputs) * directions * steps
