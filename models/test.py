"""Test a recogniser: `python -m models.test --dataset DIR`, or a script of run_scripts/.

Accuracy on the whole split, throughput over it (pictures in, texts out), and latency at batch 1 and at the batch asked.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

from bench.errors import run_cli
from bench.machine.meter import latencies
from bench.records.record import Record
from models.dataset import WordDataset
from models.engines.table import Engine, choose
from models.network.network import Recogniser
from models.run.context import Session, normalised
from models.run.measure import Instruments, Run, recorded
from models.run.options import Infer, checkpoint_root, recipe_command
from models.scoring.evaluate import Read, batches_of, evaluate, read, recognise
from models.scoring.mistakes import page
from models.scoring.protocol import accuracy_section, table
from models.scoring.sets import open_sets
from models.training.ablation import STAND_INS, fed
from models.weights import FOLDER, checkpoint, of_recipe
from models.weights import path as weights_path

COMMAND = recipe_command("models.test", Infer, "--dataset data/sample --batch-size 64")
LATENCY_WARMUP = 10  # calls before the timed ones


def weights(network: Recogniser, options: Infer, session: Session) -> Path | None:
    """Load the checkpoint asked for, the newest best one, or shipped weights. None: the weights are random."""
    path = options.checkpoint or checkpoint.newest_best(checkpoint_root(options), options.recipe)
    path = path or shipped(options, session)
    if path:
        checkpoint.load_network(network, checkpoint.read(path), path, session.charset.characters, options.recipe)
        session.say(f"  weights: {path}{', which come with the repository' if path.parent == FOLDER else ''}")
    else:
        session.say(
            "  no trained checkpoint: random weights, so this measures speed only and accuracy stays empty.\n"
            "  Train one with `bash run_scripts/quickstart.sh`, or pass --checkpoint FILE."
        )
    return path


def shipped(options: Infer, session: Session) -> Path | None:
    """The weights that come with the repository, when they are for this recipe, alphabet, network and shape."""
    name = of_recipe(options.recipe, session.charset.characters)
    if name is None:
        return None
    path = weights_path(name)
    content = checkpoint.read(path)
    data = {key: getattr(options.data, key) for key in content["data"]}
    asked = (session.charset.characters, dataclasses.asdict(options.model), data)
    return path if asked == (content["charset"], content["model"], content["data"]) else None


def measure_latency(network: Engine, dataset: WordDataset, session: Session, options: Infer) -> list[dict]:
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


@dataclass
class Testing:
    """A run of testing. `run()` is what happens; the rest is what it is made of."""

    options: Infer
    session: Session

    def __post_init__(self):
        options, session = self.options, self.session
        self.method = session.method  # refused, if it is, before anything is opened
        self.dataset = opened(options, session)
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
        self.reader = self.engine()
        accuracy = self.read(trained)
        self.again()
        with self.meter.phase("latency_s"):
            latency = measure_latency(self.reader, data, session, options) if options.latency_runs else []
        checkpoint_ = str(trained) if trained else None
        return self.measured.record(latency=latency, accuracy=accuracy, training={"checkpoint": checkpoint_})

    def engine(self) -> Engine:
        """What will compute the network, tried on the first pictures."""
        some = self.dataset.__getitems__(list(range(min(self.options.batch_size, len(self.dataset)))))
        images = normalised(some.images, self.session.device.torch)
        with self.meter.phase("compile_s"):
            engine = choose(self.options.engine, self.network, self.session, images)
        self.session.engine = engine.name
        return engine

    def read(self, trained: Path | None) -> dict | None:
        """Read the whole split, timed; a twin reads what it is fed, and nobody asks how well."""
        options, session = self.options, self.session
        if options.input in STAND_INS:
            return self.pass_over()
        _, reads = evaluate(self.reader, self.dataset, session, self.meter, self.batches)
        if not trained:
            return None
        accuracy = accuracy_section(reads, self.dataset.source, options.split, self.method.name, options.mode)
        tell(accuracy, reads, self.dataset, session)
        return accuracy

    def pass_over(self) -> None:
        read(self.reader, islice(self.batches, self.steps), self.session, self.meter)

    def again(self) -> None:
        """Go over the split again, for the clock alone, until enough is measured on every rank."""
        options = self.options
        while not all(self.session.world.gather(self.meter.enough(options.min_steps, options.min_seconds))):
            self.pass_over()


def main(argv: list[str] | None = None) -> None:
    perform(COMMAND.parse(argv))


def perform(options: Infer) -> None:
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
    run_cli(main, "models.test")
