"""Test a recogniser: `python -m models.test --dataset DIR`, or a script of run_scripts/.

Accuracy on the whole split, throughput over it (pictures in, texts out), and latency at batch 1 and at the batch asked.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import cycle, islice
from pathlib import Path

from bench.meter import latencies
from bench.record import Record
from bench.refusal import answer
from models import checkpoint
from models.dataset import WordDataset
from models.evaluate import batches_of, evaluate, read, recognise
from models.measure import Instruments, Run, recorded
from models.metrics import Score
from models.options import Infer, checkpoint_root, parse
from models.recogniser import Recogniser
from models.twins import fed
from models.util import Session

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


@dataclass
class Testing:
    """A run of testing. `run()` is what happens; the rest is what it is made of."""

    options: Infer
    session: Session

    def __post_init__(self):
        options, session = self.options, self.session
        self.dataset = session.dataset(options.split, targets=False)
        self.network = session.network().eval()
        self.name = session.run_name("Infer")
        self.steps = -(-len(self.dataset) // (options.batch_size * session.world.size))  # of one pass over the split
        self.meter = session.meter(min(options.warmup_steps, self.steps - 1))
        self.batches = fed(batches_of(self.dataset, session), options)
        self.measured = Run(session, self.name, self.meter, self.dataset, options.split, self.network)

    def run(self) -> Record:
        options, session, data = self.options, self.session, self.dataset
        session.say(f"{self.name}: {session.world.size} x {session.device.card_name()}, {len(data):,} of {data.name}")
        trained = weights(self.network, options, session)
        score = self.score()
        self.again()
        with self.meter.phase("latency_s"):
            latency = measure_latency(self.network, data, session, options) if options.latency_runs else []
        if trained and score:
            session.say(
                f"  {score.word_accuracy:.2%} of {score.n:,} words read "
                f"(exact {score.exact_accuracy:.2%}, 1-NED {score.one_minus_ned:.3f}, CER {score.cer:.3f})"
            )
        return self.measured.record(
            latency=latency,
            accuracy=accuracy_section(score, options.split) if trained and score else None,
            training={"checkpoint": str(trained) if trained else None},
        )

    def score(self) -> Score | None:
        """Read the whole split, timed; a twin reads what it is fed, and nobody asks how well."""
        if self.options.input == "real":
            return evaluate(self.network, self.dataset, self.session, self.meter, self.batches)[0]
        self.pass_over()
        return None

    def pass_over(self) -> None:
        read(self.network, islice(self.batches, self.steps), self.session, self.meter)

    def again(self) -> None:
        """Go over the split again, for the clock alone, until enough is measured on every rank."""
        options = self.options
        while not all(self.session.world.gather(self.meter.enough(options.min_steps, options.min_seconds))):
            self.pass_over()


def main(argv: list[str] | None = None) -> None:
    options = parse(Infer, argv, "models.test")
    session = Session.open(options)
    try:
        session.instruments = Instruments.open(session)
        testing = Testing(options, session)
        with recorded(testing.measured, options):
            record = testing.run()
        if session.world.leads:
            session.say(f"record: {record.save(options.results)}")
    finally:
        session.world.leave()


if __name__ == "__main__":
    answer(main, "models.test")
