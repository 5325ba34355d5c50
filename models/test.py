"""Test a recogniser: `python -m models.test --dataset DIR`, or a script of run_scripts/.

Accuracy on the whole split, throughput over it (pictures in, texts out), and latency at batch 1 and at the batch asked.
"""

from __future__ import annotations

from dataclasses import asdict
from itertools import cycle, islice
from pathlib import Path

from bench.meter import Latency, Meter, latencies
from bench.record import Record
from bench.refusal import answer
from models import checkpoint
from models.dataset import WordDataset
from models.evaluate import Read, evaluate, recognise
from models.mistakes import page
from models.options import Infer, checkpoint_root, parse
from models.protocol import accuracy_section, table
from models.recogniser import Recogniser
from models.sets import open_sets
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
        rows.append(asdict(Latency.of(size, seconds)))
    return rows


def opened(options: Infer, session: Session) -> WordDataset:
    """What is to be read: the sets asked for, or the split of the data set."""
    if options.sets:
        return open_sets(session, options.sets, options.split)
    return session.dataset(options.split, targets=False)


def tell(accuracy: dict, reads: list[Read], data: WordDataset, session: Session) -> None:
    """Say how well each set was read, and write the page of mistakes where it was asked for."""
    session.say(table(accuracy))
    path = session.options.mistakes
    if path and session.world.leads:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(page(str(session.run_name("Infer")), accuracy, reads, data), encoding="utf8")
        session.say(f"mistakes: {path}")


def run(options: Infer, session: Session) -> Record:
    method = session.method  # refused, if it is, before anything is opened
    dataset = opened(options, session)
    name = session.run_name("Infer")
    session.say(
        f"{name}: {session.world.size} x {session.device.card_name()}, {len(dataset):,} pictures of {dataset.name}"
    )
    network = session.network().eval()
    trained = weights(network, options, session)
    batches = -(-len(dataset) // (options.batch_size * session.world.size))
    meter = Meter(session.device.synchronize, min(options.warmup_steps, batches - 1))
    _, reads = evaluate(network, dataset, session, meter)
    latency = measure_latency(network, dataset, session, options) if options.latency_runs else []
    accuracy = accuracy_section(reads, dataset.source, options.split, method.name, options.mode)
    if trained:
        tell(accuracy, reads, dataset, session)
    return make_record(
        session,
        name,
        meter,
        dataset_section(dataset, options.split, session.world),
        latency=latency,
        accuracy=accuracy if trained else None,
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
