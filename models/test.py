"""Test a recogniser: `python -m models.test --dataset DIR`, or a script of run_scripts/.

Accuracy on the whole split, throughput over it (pictures in, texts out), and latency at batch 1 and at the batch asked.
"""

from __future__ import annotations

from dataclasses import asdict
from itertools import cycle, islice
from pathlib import Path

from bench.meter import Meter, latencies
from bench.record import Record
from bench.refusal import answer
from models import checkpoint
from models.dataset import WordDataset
from models.evaluate import evaluate, recognise
from models.metrics import Score
from models.options import Infer, checkpoint_root, parse
from models.recogniser import Recogniser
from models.util import Session, dataset_section, make_record

LATENCY_WARMUP = 10  # calls before the timed ones


def weights(network: Recogniser, options: Infer, session: Session) -> Path | None:
    """Load the checkpoint asked for, or the newest best one. None: there is none, and the weights are random."""
    path = options.checkpoint or checkpoint.newest_best(checkpoint_root(options), options.recipe)
    if path:
        checkpoint.load_network(network, checkpoint.read(path), path, session.charset.characters, options.recipe)
        session.say(f"  weights: {path}")
    else:
        session.say(
            "  no trained checkpoint: random weights, so this measures speed only and accuracy stays empty.\n"
            "  Train one with `bash run_scripts/quickstart.sh`, or pass --checkpoint FILE."
        )
    return path


def measure_latency(network: Recogniser, dataset: WordDataset, session: Session, options: Infer) -> list[dict]:
    """Latency from a decoded picture on the host to its text, for one picture and for a batch."""
    rows = []
    for size in sorted({1, options.batch_size}):
        starts = cycle(range(0, max(1, len(dataset) - size + 1), size))
        indices = [list(range(start, min(start + size, len(dataset)))) for start in islice(starts, 8)]
        batches = cycle([dataset.__getitems__(some) for some in indices])
        seconds = latencies(
            lambda batches=batches: recognise(network, next(batches), session),
            session.device.synchronize,
            options.latency_runs,
            LATENCY_WARMUP,
        )
        rows.append({"batch": size, "seconds": seconds})
    return rows


def accuracy_section(score: Score, split: str) -> dict:
    low, high = score.interval
    return {"split": split, **asdict(score), "word_accuracy_low": low, "word_accuracy_high": high}


def run(options: Infer, session: Session) -> Record:
    dataset = session.dataset(options.split, targets=False)
    name = session.run_name("Infer")
    session.say(
        f"{name}: {session.world.size} x {session.device.card_name()}, {len(dataset):,} pictures of {dataset.name}"
    )
    network = session.network().eval()
    trained = weights(network, options, session)
    batches = -(-len(dataset) // (options.batch_size * session.world.size))
    meter = Meter(session.device.synchronize, min(options.warmup_steps, batches - 1))
    score, _ = evaluate(network, dataset, session, meter)
    latency = measure_latency(network, dataset, session, options) if options.latency_runs else []
    if trained:
        session.say(
            f"  {score.word_accuracy:.2%} of {score.n:,} words read "
            f"(exact {score.exact_accuracy:.2%}, 1-NED {score.one_minus_ned:.3f}, CER {score.cer:.3f})"
        )
    return make_record(
        session,
        name,
        meter,
        dataset_section(dataset, options.split, session.world),
        latency=latency,
        accuracy=accuracy_section(score, options.split) if trained else None,
        training={"checkpoint": str(trained) if trained else None},
    )


def main(argv: list[str] | None = None) -> None:
    options = parse(Infer, argv, "models.test")
    session = Session.open(options)
    try:
        record = run(options, session)
        if session.world.leads:
            session.say(f"record: {record.save(options.results)}")
    finally:
        session.world.leave()


if __name__ == "__main__":
    answer(main, "models.test")
