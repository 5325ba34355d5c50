"""Inference under MLPerf's load generator: `python -m models.loadgen --scenario Server --dataset DIR`.

LoadGen asks for pictures of a split by number; answers are their texts. The performance test gives a verdict, VALID or
INVALID, the accuracy test reads the whole split. LoadGen's own files are kept beside the record.
"""

from __future__ import annotations

import atexit
import math
import os
import queue
import sys
import threading
import time
import uuid
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Literal

import numpy as np
import torch

from bench.errors import UserError, run_cli
from bench.machine import loadgen
from bench.machine.loadgen import Scenario
from bench.machine.meter import Meter
from bench.options import Bounds
from bench.records.record import Record
from models.data.image import PADDING
from models.dataset import Batch, WordDataset
from models.engines.table import Engine
from models.run.context import Session
from models.run.measure import Instruments, recorded
from models.run.options import Infer, recipe_command
from models.scoring.evaluate import Read, recognise
from models.scoring.protocol import accuracy_section
from models.test import Testing, weights

HELD = 1024  # pictures in memory during a performance test, as MLPerf has it for small ones
TRIALS = 3  # batches that tell how fast to expect the answers


@dataclass
class LoadgenOptions(Infer):
    """Drive inference with MLPerf's LoadGen; write one record and LoadGen's files."""

    scenario: Scenario = "Offline"
    test: Literal["performance", "accuracy"] = "performance"
    queries_per_s: Annotated[float, Bounds(0)] = 0.0
    """Expected (Offline) or asked (Server); 0: what a trial reaches, and half of it for Server"""
    latency_ms: Annotated[float, Bounds(above=0)] = 100.0
    """Server: the bound that 99 % of the answers must keep"""
    min_queries: Annotated[int, Bounds(1)] = 100
    warmup_steps: Annotated[int, Bounds(0)] = 0


COMMAND = recipe_command("models.loadgen", LoadgenOptions, "--scenario Server --latency-ms 50")


@dataclass
class Library:
    """LoadGen's query sample library over a data set: pictures by number, in memory while LoadGen wants them."""

    dataset: WordDataset
    held: dict[int, Batch] = field(default_factory=dict)

    def load(self, indices: list[int]) -> None:
        self.held.update((index, self.dataset[index]) for index in indices)

    def unload(self, indices: list[int]) -> None:
        for index in indices:
            self.held.pop(index, None)

    def batch(self, indices: list[int]) -> Batch:
        """The pictures of these samples as one batch, padded on the right to the widest."""
        parts = [self.held[index] for index in indices]
        widest = max(part.images.shape[3] for part in parts)
        images = [torch.nn.functional.pad(p.images, (0, widest - p.images.shape[3]), value=PADDING) for p in parts]
        return Batch(
            images=torch.cat(images),
            widths=torch.cat([part.widths for part in parts]),
            labels=torch.cat([part.labels for part in parts]),
            lengths=torch.cat([part.lengths for part in parts]),
            texts=[text for part in parts for text in (part.texts or [""])],
            numbers=indices,
        )


@dataclass
class Server:
    """The system under test: reads whatever has been asked for, up to a batch at a time."""

    lg: object
    reader: Engine
    session: Session
    library: Library
    meter: Meter
    asked: queue.Queue = field(default_factory=queue.Queue)

    def issue(self, samples: list) -> None:
        """Called by LoadGen; must not wait."""
        for sample in samples:
            self.asked.put((sample.id, sample.index))

    def flush(self) -> None:
        """Nothing is ever held back."""

    def batches(self) -> Iterator[list[tuple[int, int]]]:
        """What is asked for, (query, sample) each, at most a batch at a time, until None comes."""
        while (first := self.asked.get()) is not None:
            together = [first]
            while len(together) < self.session.options.batch_size and not self.asked.empty():
                together.append(self.asked.get())
            yield together  # None is never among them: LoadGen ends when it has every answer

    def serve(self) -> None:
        for asked in self.meter.steps(self.batches()):
            texts = recognise(self.reader, self.library.batch([index for _, index in asked]), self.session).texts
            self.complete([query for query, _ in asked], texts)

    def complete(self, queries: list[int], texts: list[str]) -> None:
        """Hand texts to LoadGen as UTF-8; it copies them before this returns."""
        kept = [array("B", text.encode()) for text in texts]
        where = [part.buffer_info() for part in kept]
        self.lg.QuerySamplesComplete(
            [self.lg.QuerySampleResponse(query, at, n) for query, (at, n) in zip(queries, where, strict=True)]
        )


class Driven(Testing):
    """A test whose pictures LoadGen asks for."""

    options: LoadgenOptions

    def __post_init__(self):
        self.lg = loadgen.import_loadgen()
        if self.session.world.size > 1:
            raise UserError(f"LoadGen asks one process; this run has {self.session.world.size}: name a run with 1 card")
        super().__post_init__()
        self.library = Library(self.dataset)
        self.id = uuid.uuid4().hex
        self.folder = self.options.results / f"{self.name}.{self.options.scenario}.{self.id[:8]}.loadgen"

    def run(self) -> Record:
        options = self.options
        self.session.say(f"{self.name}: {options.scenario}, {options.test}, {len(self.dataset):,} pictures")
        trained = weights(self.network, options, self.session)
        self.reader = self.engine()
        load = self.load()
        self.folder.mkdir(parents=True)
        self.drive(load)
        section = loadgen.loadgen_section(self.folder, load)
        self.session.say(f"  LoadGen: {section['verdict'] or 'no verdict in accuracy mode'}; {self.folder}")
        return self.measured.record(
            loadgen=section,
            record_id=self.id,
            accuracy=self.accuracy() if options.test == "accuracy" and trained else None,
            training={"checkpoint": str(trained) if trained else None},
        )

    def load(self) -> loadgen.Load:
        """What to ask of LoadGen; how fast answers may be expected is tried first."""
        options = self.options
        batch_s, one_s = self.trial(options.batch_size), self.trial(1)
        rate = options.queries_per_s or options.batch_size / batch_s / (2 if options.scenario == "Server" else 1)
        return loadgen.Load(
            scenario=options.scenario,
            mode=options.test,
            seconds=options.min_seconds,
            queries=options.min_queries,
            queries_per_s=rate,
            latency_s=options.latency_ms / 1e3 if options.scenario == "Server" else one_s,
            seed=options.seed,
        )

    def trial(self, size: int) -> float:
        """Seconds of a batch: the fastest of a few."""
        batch = self.dataset.__getitems__(np.arange(size) % len(self.dataset))
        took = []
        for _ in range(TRIALS):
            began = time.perf_counter()
            recognise(self.reader, batch, self.session)
            self.session.device.synchronize()
            took.append(time.perf_counter() - began)
        return min(took)

    def drive(self, load: loadgen.Load) -> None:
        """Answer here until LoadGen, in a thread of its own, has seen enough.

        That way round, because LoadGen waits for its answers for ever and hears no signal: a failure or an interruption
        of the answering ends the run, and the thread with it.
        """
        server = Server(self.lg, self.reader, self.session, self.library, self.meter)
        asking = threading.Thread(target=self.ask, args=(load, server), name="loadgen", daemon=True)
        atexit.register(abandon, asking)
        asking.start()
        server.serve()
        asking.join()

    def ask(self, load: loadgen.Load, server: Server) -> None:
        lg, total = self.lg, len(self.dataset)
        sut = lg.ConstructSUT(server.issue, server.flush)
        qsl = lg.ConstructQSL(total, min(total, HELD), self.library.load, self.library.unload)
        lg.StartTestWithLogSettings(
            sut, qsl, loadgen.make_test_settings(lg, load), loadgen.log_settings(lg, self.folder)
        )
        lg.DestroyQSL(qsl)
        lg.DestroySUT(sut)
        server.asked.put(None)

    def accuracy(self) -> dict:
        """From LoadGen's own log of every answer: the whole split, the exact denominator."""
        reads = []
        for index, text in sorted(loadgen.read_answers(self.folder).items()):
            one = self.dataset[index]
            if one.weight:  # a picture that cannot be read is not counted, as in models.test
                reads.append(Read(one.numbers[0], one.texts[0], text.decode(), math.nan))
        options = self.options
        return accuracy_section(reads, self.dataset.source, options.split, self.method.name, options.mode)


def abandon(asking: threading.Thread) -> None:
    """At the very end: LoadGen cannot be told to stop, and its thread would abort the interpreter."""
    if asking.is_alive():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(1)


def main(argv: list[str] | None = None) -> None:
    options = COMMAND.parse(argv)
    session = Session.open(options)
    try:
        session.instruments = Instruments.open(session)
        test = Driven(options, session)
        with recorded(test.measured, options):
            record = test.run()
        session.say(f"record: {record.save(options.results)}")
    finally:
        session.world.leave()


if __name__ == "__main__":
    run_cli(main, "models.loadgen")
