"""A record whose arithmetic closes, to be spoiled by tests."""

from __future__ import annotations

from dataclasses import asdict

from bench.meter import Latency, Series, throughput
from bench.record import Record


def make_record(step_s: float = 0.1, steps: int = 12, cards: int = 1, batch: int = 32, **changes) -> Record:
    """A record of `cards` ranks that took `step_s` a step; two warm-up steps at ten times that."""
    ranks = []
    for rank in range(cards):
        times = [step_s * 10] * 2 + [step_s * (1 + 0.01 * rank)] * steps
        ranks.append(Series(times, [step_s / 100] * len(times), [batch] * len(times)))
    content = {
        "run": f"CRNN_FP32_30E_{cards}CPU{'s' * (cards > 1)}_Train",
        "task": "Train",
        "cell": {"model": "crnn", "device": "CPU", "card": "Test CPU", "cards": cards, "precision": "FP32"}
        | {"batch_per_card": batch, "global_batch": batch * cards},
        "recipe": {"name": "crnn", "sha256": "0" * 64},
        "options": {},
        "dataset": {"name": "Synth90k", "split": "test", "is_sample": False, "n": 100, "skipped": 2},
        "provenance": {"commit": "c" * 40, "dirty": False},
        "series": [asdict(rank) for rank in ranks],
        "warmup_steps": 2,
        "throughput": asdict(throughput(ranks, 2)),
        "latency": [asdict(Latency.of(1, [0.004, 0.005, 0.009]))],
        "accuracy": {"split": "test", "n": 98, "correct": 49, "word_accuracy": 0.5},
    }
    return Record(**{**content, **changes})
