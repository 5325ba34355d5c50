"""A record whose arithmetic closes, to be spoiled by tests."""

from __future__ import annotations

from bench.records.derive import with_derived
from bench.records.record import Record
from bench.records.series import Series


def make_series(step_s: float, steps: int, batch: int, rank: int = 0) -> dict:
    """Two warm-up steps at ten times `step_s`, then `steps` at it; each rank 1 % slower than the one before."""
    times = [step_s * 10] * 2 + [step_s * (1 + 0.01 * rank)] * steps
    return Series(times, [step_s / 100] * len(times), [batch] * len(times)).to_record()


def make_samples(rank: int, seconds: float, watts: float = 100.0) -> dict:
    """A card at `watts`, sampled twice a second for the measured window 10..10 + seconds and a little around it."""
    time_s = [9.5 + 0.5 * i for i in range(int(seconds * 2) + 3)]
    return {
        "rank": rank,
        "sensor": "nvml",
        "interval_s": 0.5,
        "windows": [[10.0, 10.0 + seconds]],
        "time_s": time_s,
        "power_w": [watts] * len(time_s),
        "temperature_c": [60.0] * len(time_s),
        "reasons": [],
    }


def make_record(step_s: float = 0.1, steps: int = 12, cards: int = 1, batch: int = 32, **changes) -> Record:
    """A record of `cards` ranks that took `step_s` a step; two warm-up steps at ten times that."""
    content = {
        "run": f"CRNN_FP32_30E_{cards}CPU{'s' * (cards > 1)}_Train",
        "task": "Train",
        "cell": {"model": "crnn", "device": "CPU", "card": "Test CPU", "cards": cards, "hosts": 1, "precision": "FP32"}
        | {
            "batch_per_card": batch,
            "global_batch": batch * cards,
            "input": "real",
            "without": None,
            "simulated": False,
        },
        "recipe": {"name": "crnn", "sha256": "0" * 64},
        "options": {},
        "dataset": {"name": "Synth90k", "split": "test", "is_sample": False, "n": 100, "skipped": 2},
        "provenance": {"commit": "c" * 40, "dirty": False},
        "series": [make_series(step_s, steps, batch, rank) for rank in range(cards)],
        "warmup_steps": 2,
        "limits": [{"forward_flops_per_image": 1e9, "dtype": "float32", "gemm_flops_per_s": 5e12}] * cards,
        "phases_s": {"init_s": 1.0, "evaluation_s": 2.0, "total_s": 100.0},
        "latency": [{"batch": 1, "seconds": [0.004, 0.005, 0.009]}],
        "accuracy": {"split": "test", "n": 98, "correct": 49, "word_accuracy": 0.5},
    }
    content["limits"] = [one | {"copy_bytes_per_s": 2e10} for one in content["limits"]]
    return with_derived(Record(**{**content, **changes}))
