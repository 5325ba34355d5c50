"""What the device can do at best, measured in the same process as the run: a matrix product and a copy, under a second.

Vendors' peaks are for clocks and shapes that a run never sees. A ceiling measured here, in the run's own precision and
at the heat it left behind, is one that the run could have reached.
"""

from __future__ import annotations

import copy
import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from bench.machine.device import Device
from bench.records.sections import Ceilings

SLICE_S = 0.02  # a timed call takes at least this long, so that launching it costs nothing
LONG_S = 1e-3  # a product on a card takes at least this long, so that all its processors are busy nearly all of it
MOST_CALLS = 1000  # in a row, of the shortest
ROUNDS = 5  # the best of them counts: a ceiling, not a mean
LARGEST = 8192  # n of the n x n product: 268 MB a matrix in float32
COPY_BYTES, COPY_BYTES_CARD = 1 << 26, 1 << 28  # well beyond a processor's caches; four times that on a card
Clock = Callable[[], float]


@dataclass(frozen=True)
class Timing:
    """Repeats of one call: seconds of the fastest, and (median - fastest) / fastest, how uncertain that is."""

    best_s: float
    spread_share: float


def measure_ceilings(device: Device) -> Ceilings:
    """The GEMM and copy ceiling, as a record keeps them. Memory is given back before it returns."""
    dtype = device.compute_dtype or torch.float32
    flops, product = time_gemm(device, dtype, time.perf_counter if device.kind.is_card else cpu_seconds_per_thread)
    if not device.kind.is_card:
        other = time_convolution(device, dtype, cpu_seconds_per_thread)
        flops, product = max((flops, product), other, key=lambda one: one[0] / one[1].best_s)
    size, copying = time_copy(device, time.perf_counter)
    return {
        "dtype": str(dtype).removeprefix("torch."),
        "gemm_flops_per_s": flops / product.best_s,
        "gemm_spread_share": product.spread_share,
        "copy_bytes_per_s": size / copying.best_s,
        "copy_spread_share": copying.spread_share,
    }


def cpu_seconds_per_thread() -> float:
    """Seconds that this process's threads were given, each: what others take from a shared CPU lowers no ceiling."""
    return time.process_time() / torch.get_num_threads()


def time_gemm(device: Device, dtype: torch.dtype, clock: Clock) -> tuple[int, Timing]:
    """Operations of a square product that is large enough to be timed, a multiply-add being two, and its timing."""
    n = 256
    while True:
        # Random: on data whose bits hardly switch a card draws less power and runs faster than any network lets it
        # (an H200 in bfloat16: 894 TFLOP/s on zeros, 788 on random numbers).
        a = torch.randn(n, n, device=device.torch, dtype=dtype)
        b, out = torch.randn_like(a), torch.empty_like(a)
        with torch.inference_mode():
            timing = time_repeats(partial(torch.mm, a, b, out=out), device, clock)
        if timing.best_s >= (LONG_S if device.kind.is_card else SLICE_S) or n == LARGEST:
            return 2 * n**3, timing
        n *= 2


def time_convolution(device: Device, dtype: torch.dtype, clock: Clock) -> tuple[int, Timing]:
    """The same of a 3 x 3 convolution of 256 channels, which a CPU computes in another library than a product.

    In float32 on a Zen 5 oneDNN's convolutions are 2.2 times as fast as MKL's products.
    """
    weights, width = torch.randn(256, 256, 3, 3, device=device.torch, dtype=dtype), 8
    while True:
        images = torch.randn(16, 256, 16, width, device=device.torch, dtype=dtype)
        images = images.contiguous(memory_format=torch.channels_last)
        with torch.inference_mode():
            timing = time_repeats(partial(torch.conv2d, images, weights, padding=1), device, clock)
        if timing.best_s >= SLICE_S or width >= LARGEST:
            return 2 * images.numel() * weights[0].numel(), timing
        width *= 2


def time_copy(device: Device, clock: Clock) -> tuple[int, Timing]:
    """Bytes read and written by a copy inside the device's memory, and its timing."""
    size = COPY_BYTES_CARD if device.kind.is_card else COPY_BYTES
    source = torch.randint(0, 256, (size,), dtype=torch.uint8, device=device.torch)
    target = torch.empty_like(source)
    return 2 * size, time_repeats(lambda: target.copy_(source), device, clock)


def time_repeats(work: Callable[[], object], device: Device, clock: Clock) -> Timing:
    """A few drained calls; the first, which finds kernels and memory, does not count.

    Where the device has events, so many calls between two of them that launching and draining are no part of it.
    """
    make_event = device.event_maker()
    took = [drained_s(work, device, clock) for _ in range(1 if make_event else ROUNDS + 1)]
    if make_event:
        calls = max(1, min(MOST_CALLS, math.ceil(SLICE_S / drained_s(work, device, clock))))
        took += [clocked_s(work, calls, make_event, device) for _ in range(ROUNDS)]
    best_s = min(took[1:])
    return Timing(best_s, statistics.median(took[1:]) / best_s - 1)


def drained_s(work: Callable[[], object], device: Device, clock: Clock) -> float:
    """Seconds of one call by the host's clock, the device drained around it."""
    device.synchronize()
    began = clock()
    work()
    device.synchronize()
    return clock() - began


def clocked_s(work: Callable[[], object], calls: int, make_event: Callable[[], Any], device: Device) -> float:
    """Seconds of each of `calls` calls in a row by the device's own clock."""
    began, ended = make_event(), make_event()
    began.record()
    for _ in range(calls):
        work()
    ended.record()
    device.synchronize()
    return float(began.elapsed_time(ended)) / 1e3 / calls


def forward_flops(network: nn.Module, images: tuple[int, ...], device: str = "meta") -> int:
    """Operations of one forward pass over images (N, C, H, W), a multiply-add being two: torch's own count.

    Counted on a copy without storage ("meta"), where recurrent layers fall apart into products that the counter sees;
    on a device they are one call that it does not know. A version of torch that counts them nowhere gets them added.
    """
    shadow = copy.deepcopy(network).to(device).eval()
    missed: list[int] = []
    counter = FlopCounterMode(display=False)
    for module in shadow.modules():
        if isinstance(module, nn.LSTM | nn.GRU):
            count_missed_flops(module, counter, missed)
    with torch.no_grad(), counter:
        shadow(torch.zeros(images, device=device))
    total: int = counter.get_total_flops() + sum(missed)
    return total


def count_missed_flops(module: nn.RNNBase, counter: FlopCounterMode, missed: list[int]) -> None:
    """Note what the counter leaves out of one recurrent layer."""
    before: list[int] = []
    module.register_forward_pre_hook(lambda *_: before.append(counter.get_total_flops()))

    def after(layer: nn.RNNBase, inputs: tuple[torch.Tensor, ...], _: Any) -> None:
        counted = counter.get_total_flops() - before.pop()
        missed.append(max(0, recurrent_flops(layer, inputs[0]) - counted))

    module.register_forward_hook(after)


def recurrent_flops(layer: nn.RNNBase, sequence: torch.Tensor) -> int:
    """Each step and direction multiplies the input and the state by the weights of all gates; the rest is small."""
    gates = {nn.LSTM: 4, nn.GRU: 3}[type(layer)]
    steps, directions = sequence.shape[0] * sequence.shape[1], 1 + layer.bidirectional
    inputs = [layer.input_size] + [layer.hidden_size * directions] * (layer.num_layers - 1)
    return sum(2 * gates * layer.hidden_size * (n + layer.hidden_size) for n in inputs) * directions * steps
