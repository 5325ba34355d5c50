"""What sampling sensors costs a run: `python -m benchmarks.telemetry [--device GPU] [--pairs 10]`.

Twice: the processor time of one sample, at the rate of a run, as a share of one core (a bound: a step cannot lose more
than that to a thread that shares its interpreter); and steps of a CRNN with and without the sampler, in turns. The
target is 0.5 % of a step. A shared machine shows the first to a hundredth of that, the second hardly to a percent.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import torch

from bench.errors import UserError, run_cli
from bench.machine import telemetry
from bench.machine.device import Device
from bench.machine.meter import latencies
from bench.options import Bounds, Choices, Command
from models.crnn import CRNN

SAMPLES, STEPS, BATCH = 200, 12, 8
TARGET_SHARE = 0.005


@dataclass
class TelemetryOptions:
    """Measure what sampling sensors costs a run."""

    device: Annotated[str, Choices(tuple(telemetry.SENSORS))] = "CPU"
    pairs: Annotated[int, Bounds(0)] = 10
    """Of steps with and without the sampler"""


COMMAND = Command("benchmarks.telemetry", TelemetryOptions, "--device GPU --pairs 10")


def cost_s(sensor) -> tuple[float, float]:
    """(processor, wall) seconds of one sample, medians of many. Waiting for a driver takes no processor."""
    processor, wall = [], []
    for _ in range(SAMPLES):
        began, since = time.thread_time(), time.perf_counter()
        sensor.sample()
        processor.append(time.thread_time() - began)
        wall.append(time.perf_counter() - since)
    return statistics.median(processor), statistics.median(wall)


def step(device: Device) -> Callable[[], None]:
    """A training step of the paper's network, drained by whoever times it."""
    network = CRNN().to(device.torch)
    images = torch.zeros(BATCH, 1, 32, 100, device=device.torch)

    def work() -> None:
        network(images).sum().backward()

    return work


def median_step(work: Callable[[], None], device: Device, sensor) -> float:
    """Seconds of the median step while `sensor` is sampled, or nothing where it is None."""
    sampler = telemetry.Sampler(sensor).start()
    took = statistics.median(latencies(work, device.synchronize, STEPS, 1))
    sampler.stop()
    return took


def ratios(device: Device, sensor, pairs: int) -> list[float]:
    """Step with the sampler / step without it, in turns that swap, so that drift meets both alike."""
    work, found = step(device), []
    for pair in range(pairs):
        order = (sensor, None) if pair % 2 else (None, sensor)
        took = {one is not None: median_step(work, device, one) for one in order}
        found.append(took[True] / took[False])
    return found


def main(argv: list[str] | None = None) -> None:
    options = COMMAND.parse(argv)
    device = Device.open(options.device)
    sensor = telemetry.open_sensor(options.device, device.identity() or 0)
    if sensor is None:
        raise UserError(f"no sensor of a {options.device} answers here")
    processor, wall = cost_s(sensor)
    share = processor / sensor.interval_s
    print(f"{device.card_name()}, sensor {sensor.name}, every {sensor.interval_s:g} s")
    print(f"one sample: {processor * 1e6:.0f} us of a processor, {wall * 1e6:.0f} us in all")
    print(f"bound: {share:.4%} of a step (target {TARGET_SHARE:.1%}: {'met' if share < TARGET_SHARE else 'MISSED'})")
    if found := ratios(device, sensor, options.pairs):
        middle, error = statistics.median(found), statistics.stdev(found) / len(found) ** 0.5 if len(found) > 1 else 0.0
        print(f"step with / without: median {middle:.4f} of {len(found)} pairs, standard error {error:.4f}")


if __name__ == "__main__":
    run_cli(main, "benchmarks.telemetry")
