"""Inference under MLPerf's load generator: `python -m models.loadgen --scenario Server --dataset DIR`.

LoadGen asks for images of a split by number; answers are their texts. The performance test gives a verdict, VALID or
INVALID, the accuracy test reads the whole split. LoadGen's own files are kept beside the record.
"""

from __future__ import annotations

if not __package__:  # `python models/loadgen.py`, from any folder: its own is on the path, and not the checkout
    __import__("sys").path.insert(0, __file__.rsplit("/", 2)[0])

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
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch

from bench.errors import UserError, run_cli
from bench.machine import loadgen
from bench.machine.device import Device
from bench.machine.loadgen import Scenario
from bench.machine.meter import Meter
from bench.options import Bounds
from models.dataset import Batch, WordDataset, pad_batch
from models.run.context import make_meter, make_network, make_run_name, open_context
from models.run.measure import Instruments, MeasuredRun, record_failure
from models.run.options import Infer, recipe_command
from models.run.rerun import save_record
from models.run.trained import choose_trained, load_trained, parse_by_weights
from models.scoring.evaluate import Prediction, Recognise
from models.scoring.protocol import accuracy_section
from models.test import open_decoder, open_test_set, recognise, try_engine_on
from models.weights.checksum import digest_weights

HELD = 1024  # images in memory during a performance test, as MLPerf has it for small ones
TRIALS = 3  # batches timed to know how fast to expect answers


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
class SampleLibrary:
    """LoadGen's query sample library over a data set: images by number, in memory while LoadGen wants them."""

    dataset: WordDataset
    held: dict[int, Batch] = field(default_factory=dict)

    def load(self, indices: list[int]) -> None:
        self.held.update((index, self.dataset[index]) for index in indices)

    def unload(self, indices: list[int]) -> None:
        for index in indices:
            self.held.pop(index, None)

    def batch(self, indices: list[int]) -> Batch:
        """The images of these samples as one batch, padded on the right to the widest."""
        parts = [self.held[index] for index in indices]
        return Batch(
            images=torch.from_numpy(pad_batch([part.images[0].permute(1, 2, 0).numpy() for part in parts])),
            widths=torch.cat([part.widths for part in parts]),
            labels=torch.cat([part.labels for part in parts]),
            lengths=torch.cat([part.lengths for part in parts]),
            texts=[text for part in parts for text in (part.texts or [""])],
            numbers=indices,
        )


@dataclass
class SystemUnderTest:
    """Answers LoadGen's queries, up to a batch at a time."""

    lg: Any  # the module mlperf_loadgen
    recognise: Recognise
    library: SampleLibrary
    meter: Meter
    batch_size: int
    queries: queue.Queue = field(default_factory=queue.Queue)

    def issue(self, samples: list) -> None:
        """Called by LoadGen; must not wait."""
        for sample in samples:
            self.queries.put((sample.id, sample.index))

    def flush(self) -> None:
        """Nothing is ever held back."""

    def batches(self) -> Iterator[list[tuple[int, int]]]:
        """(query, sample) of what waits, at most a batch at a time, until None comes."""
        while (first := self.queries.get()) is not None:
            batch = [first]
            while len(batch) < self.batch_size and not self.queries.empty():
                batch.append(self.queries.get())
            yield batch  # None is never among them: LoadGen ends when it has every answer

    def serve(self) -> None:
        for batch in self.meter.steps(self.batches()):
            texts = self.recognise(self.library.batch([index for _, index in batch])).texts
            self.complete([query for query, _ in batch], texts)

    def complete(self, queries: list[int], texts: list[str]) -> None:
        """Hand texts to LoadGen as UTF-8; it copies them before this returns."""
        encoded = [array("B", text.encode()) for text in texts]
        buffers = [part.buffer_info() for part in encoded]
        self.lg.QuerySamplesComplete(
            [self.lg.QuerySampleResponse(query, at, n) for query, (at, n) in zip(queries, buffers, strict=True)]
        )


def plan_load(options: LoadgenOptions, dataset: WordDataset, recognise: Recognise, device: Device) -> loadgen.Load:
    """What to ask of LoadGen; how fast answers may be expected is tried first."""
    batch_s, one_s = (time_batch(size, dataset, recognise, device) for size in (options.batch_size, 1))
    is_server = options.scenario == "Server"
    return loadgen.Load(
        scenario=options.scenario,
        mode=options.test,
        seconds=options.min_seconds,
        queries=options.min_queries,
        queries_per_s=options.queries_per_s or options.batch_size / batch_s / (2 if is_server else 1),
        latency_s=options.latency_ms / 1e3 if is_server else one_s,
        seed=options.seed,
    )


def time_batch(size: int, dataset: WordDataset, recognise: Recognise, device: Device) -> float:
    """Seconds of a batch: the least of TRIALS."""
    batch = dataset.__getitems__((np.arange(size) % len(dataset)).tolist())
    seconds = []
    for _ in range(TRIALS):
        began = time.perf_counter()
        recognise(batch)
        device.synchronize()
        seconds.append(time.perf_counter() - began)
    return min(seconds)


def drive(system: SystemUnderTest, load: loadgen.Load, folder: Path) -> None:
    """Answer here until LoadGen, in a thread of its own, is done.

    That way round, because LoadGen waits for its answers without end and hears no signal: a failure or an interruption
    of the answering ends the run, and the thread with it.
    """

    def ask() -> None:
        lg, library, total = system.lg, system.library, len(system.library.dataset)
        sut = lg.ConstructSUT(system.issue, system.flush)
        qsl = lg.ConstructQSL(total, min(total, HELD), library.load, library.unload)
        lg.StartTestWithLogSettings(sut, qsl, loadgen.make_test_settings(lg, load), loadgen.log_settings(lg, folder))
        lg.DestroyQSL(qsl)
        lg.DestroySUT(sut)
        system.queries.put(None)

    thread = threading.Thread(target=ask, name="loadgen", daemon=True)
    atexit.register(exit_with, thread)
    thread.start()
    system.serve()
    thread.join()


def exit_with(thread: threading.Thread) -> None:
    """At the very end: LoadGen cannot be told to stop, and its thread would abort the interpreter."""
    if thread.is_alive():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(1)


def read_answers(folder: Path, dataset: WordDataset) -> list[Prediction]:
    """From LoadGen's own log of every answer: the whole split, the exact denominator."""
    predictions = []
    for index, text in sorted(loadgen.logged_answers(folder).items()):
        sample = dataset[index]
        if sample.weight:  # an image that cannot be read is not counted, as in models.test
            predictions.append(Prediction(sample.numbers[0], sample.texts[0], text.decode(), math.nan))
    return predictions


def main(argv: list[str] | None = None) -> None:
    options, charset, trained = choose_trained(*parse_by_weights(COMMAND, argv, lambda options: options.checkpoint))
    with open_context(options) as context:
        device, instruments = context.device, Instruments.open(context)
        lg, record_id = loadgen.import_loadgen(), uuid.uuid4().hex
        if context.world.size > 1:
            raise UserError(f"LoadGen asks one process; this run has {context.world.size}: name a run with 1 card")
        dataset = open_test_set(context, options, charset)
        decoder = open_decoder(options, charset, dataset)
        network = make_network(context, charset).eval()
        name, batches = make_run_name(context, "Infer"), -(-len(dataset) // options.batch_size)
        meter = make_meter(device, min(options.warmup_steps, batches - 1))
        measured = MeasuredRun(context, instruments, name, meter, dataset, options.split, network)
        folder = options.results / f"{name}.{options.scenario}.{record_id[:8]}.loadgen"

        with record_failure(measured):
            context.say(f"{name}: {options.scenario}, {options.test}, {len(dataset):,} images")
            weights = load_trained(network, trained, context, charset)
            measured.weights_sha256 = digest_weights(network.state_dict()) if trained else None
            with meter.phase("compile_s"):
                engine = try_engine_on(dataset, network, context, options)
            measured.engine = engine.name
            recognise_batch = partial(recognise, network=engine, decoder=decoder, device=device)
            load = plan_load(options, dataset, recognise_batch, device)
            folder.mkdir(parents=True)
            drive(SystemUnderTest(lg, recognise_batch, SampleLibrary(dataset), meter, options.batch_size), load, folder)
            section, accuracy = loadgen.loadgen_section(folder, load), None
            why = "".join(f"\n    {reason}" for reason in section.get("reasons") or [])
            context.say(f"  LoadGen: {section['verdict'] or 'no verdict in accuracy mode'}; {folder}{why}")
            if options.test == "accuracy" and trained:
                predictions = read_answers(folder, dataset)
                accuracy = accuracy_section(predictions, dataset.source, options.split, decoder.method, options.mode)
            record = measured.record(loadgen=section, record_id=record_id, accuracy=accuracy, training=weights)
        save_record(record, context, name, trained.path if trained else None, program=COMMAND.prog)
    if section["verdict"] == "INVALID":
        sys.exit(1)


if __name__ == "__main__":
    run_cli(main, "models.loadgen")
