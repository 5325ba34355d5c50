"""Latency of reading: from a decoded image on the host to its text."""

from __future__ import annotations

from itertools import cycle, islice

from bench.machine.device import Device
from bench.machine.meter import latencies
from models.dataset import WordDataset
from models.run.options import Infer
from models.scoring.evaluate import Recognise

WARMUP = 10  # calls before the timed ones


def measure_latency(recognise: Recognise, dataset: WordDataset, device: Device, options: Infer) -> list[dict]:
    """Seconds of each call, for one image and for a batch."""
    rows = []
    for size in sorted({1, options.batch_size}):
        starts = cycle(range(0, max(1, len(dataset) - size + 1), size))
        indices = [list(range(start, min(start + size, len(dataset)))) for start in islice(starts, 8)]
        batches = cycle([dataset.__getitems__(some) for some in indices])
        seconds = latencies(
            lambda batches=batches: recognise(next(batches)), device.synchronize, options.latency_runs, WARMUP
        )
        rows.append({"batch": size, "seconds": seconds})
    return rows
