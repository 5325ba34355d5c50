"""Records of many kinds for looking at a report: invented numbers, and names that try to break out of the page.

`python -m tests.support.varied_records FOLDER` writes them, to be looked at.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from bench.judging.statistics import wilson_interval
from bench.records.record import Record
from bench.records.series import Series
from tests.support.records import make_record

NASTY = "<img src=x onerror=alert(1)>|=1+1 \"'\x1b[31m"
CARDS = {"MLU": "Invented MLU", "GPU": "Invented GPU", "CPU": "Invented CPU"}
RATES = {"MLU": 9000.0, "GPU": 14000.0, "CPU": 160.0}  # images/s of one card, invented


def series(random: np.random.Generator, step_s: float, steps: int, batch: int, rank: int) -> dict:
    """A warm-up that settles, a spread of 3 %, a stall now and then."""
    times = step_s * np.exp(random.normal(0, 0.03, steps)) * (1 + 0.01 * rank)
    times[:20] *= 1 + 6 * np.exp(-np.arange(20) / 4)
    times[random.random(steps) < 0.01] *= 2
    return Series(times.tolist(), (times * 0.02).tolist(), [batch] * steps).to_record()


def samples(random: np.random.Generator, rank: int, seconds: float, watts: float) -> dict:
    time_s = np.arange(0, seconds + 8, 0.5)
    drawn = np.where((time_s > 3) & (time_s < seconds + 4), watts, watts / 4) + random.normal(
        0, watts / 40, len(time_s)
    )
    return {
        "rank": rank, "sensor": "nvml", "interval_s": 0.5, "windows": [[4.0, 4.0 + seconds]], "reasons": [],
        "time_s": time_s.tolist(), "power_w": drawn.tolist(),
    }  # fmt: skip


def varied(device: str, cards: int, precision: str, task: str, seed: int, day: int, factor: float = 1.0, **changes):
    """One invented record."""
    random, batch, steps = np.random.default_rng(seed), 64, 220
    rate = RATES[device] * factor * (1.6 if precision == "AMP" else 1) * cards**-0.05 * np.exp(random.normal(0, 0.006))
    step_s = batch / rate
    name = f"CRNN_{precision}{'_30E' * (task == 'Train')}_{cards}{device}{'s' * (cards > 1)}_{task}"
    correct = int(random.binomial(9000, 0.86 if precision == "FP32" else 0.855))
    cell = make_record().cell | {
        "device": device, "card": CARDS[device], "cards": cards, "precision": precision,
        "batch_per_card": batch, "global_batch": batch * cards,
    }  # fmt: skip
    content = {
        "run": name,
        "task": task,
        "cell": cell,
        "dataset": {"name": "Synth90k", "split": "test", "is_sample": False, "n": 9000, "skipped": 0},
        "series": [series(random, step_s, steps, batch, rank) for rank in range(cards)],
        "warmup_steps": 20,
        "memory": {"peak_bytes": [int(1.3e9 + 1e7 * rank) for rank in range(cards)]},
        "accuracy": {
            "split": "test", "n": 9000, "correct": correct, "word_accuracy": correct / 9000,
            "word_accuracy_low": wilson_interval(correct, 9000)[0],
            "word_accuracy_high": wilson_interval(correct, 9000)[1],
        },
        "latency": [],
        "limits": [],
        "provenance": {"commit": f"{day:02}" * 20, "dirty": False, "device_versions": {}},
        "started_utc": f"2026-01-{day:02}T{seed % 24:02}:{seed % 60:02}:00+00:00",
    }  # fmt: skip
    if task == "Infer":
        times = (0.4 / rate * np.exp(random.normal(0, 0.2, 200)) + 0.001).tolist()
        content["latency"] = [{"batch": 1, "seconds": times}]
    if device != "CPU":
        seconds = max(sum(one["step_s"][20:]) for one in content["series"])
        content["samples"] = [samples(random, rank, seconds, 300.0) for rank in range(cards)]
    return make_record(**{**content, **changes})


def many() -> list[Record]:
    """Three devices, two precisions, several card counts, repeats, a history with a step in it, a nasty name."""
    seeds = iter(range(1, 1000))
    records = [
        varied(device, cards, precision, "Train", next(seeds), 20)
        for device, counts in (("MLU", (1, 2, 4, 8)), ("GPU", (1, 2, 4)), ("CPU", (1,)))
        for cards in counts
        for precision in ("FP32", "AMP")
        for _ in range(3 if cards == 1 else 1)
    ]
    records += [varied(device, 1, "FP32", "Infer", next(seeds), 20) for device in CARDS for _ in range(2)]
    records += [varied("GPU", 1, "FP32", "Train", next(seeds), 1 + day, 1.0 if day < 11 else 0.94) for day in range(18)]
    strange = varied("CPU", 2, "FP32", "Train", next(seeds), 20, status="ok")
    strange.cell["card"] = strange.dataset["name"] = NASTY
    return [*records, strange]


def write(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for record in many():
        record.save(folder)
    lost = {"run": "CRNN_FP32_30E_8GPUs_Train", "status": "oom", "started_utc": "2026-01-20T00:00:00+00:00"}
    (folder / "lost.failure").write_text(json.dumps({**lost, "reason": "CUDA out of memory <b>|"}), encoding="utf8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
