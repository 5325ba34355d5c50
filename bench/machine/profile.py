"""Where a step's time goes, by kind of operation, by torch's profiler. Shares only: profiling slows what it sees."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from bench.machine.device import Device
from bench.records.sections import Breakdown

OTHER = "other"


def profile_shares(
    work: Callable[[], object], steps: int, device: Device, kinds: dict[str, str], trace_file: Path | None = None
) -> Breakdown:
    """Run `work` that many times. `kinds` is a pattern of operations' names for each kind, the first match counts.

    Times are those of the device's kernels, booked to the operation that launched them; of the host's operations where
    the device leaves no trace. `trace_file` (.json.gz) is written for Perfetto or Chrome's about:tracing.
    """
    with profile(activities=activities(device)) as trace:
        for _ in range(steps):
            work()
        device.synchronize()
    if trace_file:
        trace_file.parent.mkdir(parents=True, exist_ok=True)
        trace.export_chrome_trace(str(trace_file))
    operations = [one for one in trace.key_averages() if is_operation(one)]
    on_device = {one.key: device_us(one) for one in operations}
    source = "device" if device.kind.is_card and any(on_device.values()) else "host"
    times = on_device if source == "device" else {one.key: one.self_cpu_time_total for one in operations}
    return {"shares": shares_by_kind(times, kinds), "source": source, "steps": steps}


def activities(device: Device) -> list[ProfilerActivity]:
    found = [getattr(ProfilerActivity, name) for name in device.kind.profiler if hasattr(ProfilerActivity, name)]
    return [ProfilerActivity.CPU, *found[:1]]


def is_operation(averaged: Any) -> bool:
    """Whether it is an operation of the host: a trace also lists its kernels, and ranges that people named, as the
    device's own events, with the same time a second and a third time.
    """
    return getattr(averaged, "device_type", DeviceType.CPU) == DeviceType.CPU


def device_us(operation: Any) -> float:
    """Self time on the device; torch before 2.4 called every device cuda."""
    for name in ("self_device_time_total", "self_cuda_time_total"):
        if (time := getattr(operation, name, None)) is not None:
            return float(time)
    return 0.0


def shares_by_kind(times: dict[str, float], kinds: dict[str, str]) -> dict[str, float]:
    """Share of each kind, the largest first. Operations of no kind are "other"."""
    sums = {**dict.fromkeys(kinds, 0.0), OTHER: 0.0}
    for name, time in times.items():
        sums[next((kind for kind, pattern in kinds.items() if re.search(pattern, name, re.I)), OTHER)] += time
    whole = sum(sums.values())
    largest_first = sorted(sums.items(), key=lambda item: -item[1])
    return {kind: time / whole for kind, time in largest_first if time} if whole else {}
