"""Where a step's time goes, by kind of operation, by torch's profiler. Shares only: profiling slows what it sees."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable

from torch.profiler import ProfilerActivity, profile

from bench.machine.device import Device

OTHER = "other"


def profiled(work: Callable[[], object], steps: int, device: Device, kinds: dict[str, str]) -> dict:
    """Run `work` that many times. `kinds` is a pattern of operations' names for each kind, the first match counts.

    Times are those of the device's kernels, booked to the operation that launched them; of the host's operations where
    the device leaves no trace.
    """
    with profile(activities=activities(device)) as trace:
        for _ in range(steps):
            work()
        device.synchronize()
    operations = trace.key_averages()
    on_device = {one.key: device_us(one) for one in operations}
    source = "device" if device.kind.type != "cpu" and any(on_device.values()) else "host"
    times = on_device if source == "device" else {one.key: one.self_cpu_time_total for one in operations}
    return {"shares": shares(times, kinds), "source": source, "steps": steps}


def activities(device: Device) -> list[ProfilerActivity]:
    names = {"cuda": "CUDA", "mlu": "MLU"}  # torch_mlu adds its own; without it PrivateUse1 is the same slot
    wanted = names.get(device.kind.type)
    found = wanted and (getattr(ProfilerActivity, wanted, None) or getattr(ProfilerActivity, "PrivateUse1", None))
    return [ProfilerActivity.CPU, *([found] if found else [])]


def device_us(operation) -> float:
    """Self time on the device; torch before 2.4 called every device cuda."""
    new = getattr(operation, "self_device_time_total", None)
    return getattr(operation, "self_cuda_time_total", 0.0) if new is None else new


def shares(times: dict[str, float], kinds: dict[str, str]) -> dict[str, float]:
    """Share of each kind, the largest first. Operations of no kind are "other"."""
    sums = Counter(dict.fromkeys(kinds, 0.0))
    for name, time in times.items():
        sums[next((kind for kind, pattern in kinds.items() if re.search(pattern, name, re.I)), OTHER)] += time
    whole = sum(sums.values())
    return {kind: time / whole for kind, time in sums.most_common() if time} if whole else {}
