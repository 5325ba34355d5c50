"""Test a recogniser: `python -m models.test --dataset DIR`, or a script of run_scripts/.

Accuracy on the whole split, throughput over it (images in, texts out), and latency at batch 1 and at --batch-size.
What is measured is `recognise`.
"""

from __future__ import annotations

if not __package__:  # `python models/test.py`, from any folder: its own is on the path, and not the checkout
    __import__("sys").path.insert(0, __file__.rsplit("/", 2)[0])

from collections.abc import Collection
from functools import partial
from itertools import islice
from typing import Any

import torch

from bench.errors import run_cli
from bench.machine.device import Device
from bench.machine.meter import Meter
from bench.records.sections import TrainingResult
from models.data.charset import Charset
from models.data.formats import SourceOptions
from models.dataset import Batch, WordDataset, normalise
from models.decoding.ctc import Decoded
from models.decoding.decoder import Decoder
from models.decoding.lexicon import Lexicon
from models.engines.table import Engine, choose_engine
from models.network.network import Network
from models.run.audit import AnswerAudit, audit_repeats
from models.run.context import (
    Context,
    make_dataset,
    make_meter,
    make_network,
    make_run_name,
    make_shape,
    make_test_batches,
    open_context,
)
from models.run.latency import measure_latency
from models.run.measure import Instruments, MeasuredRun, record_failure
from models.run.options import Infer, recipe_command
from models.run.rerun import save_record
from models.run.trained import choose_trained, load_trained, parse_by_weights
from models.scoring.evaluate import InFlight, Prediction, Recognise, gather_score, predict
from models.scoring.mistakes import report_accuracy
from models.scoring.protocol import accuracy_section
from models.scoring.sets import open_sets
from models.training.ablation import FAKE_INPUTS, select_input
from models.weights.checksum import digest_weights

COMMAND = recipe_command("models.test", Infer, "--dataset data/sample --batch-size 64")


@torch.inference_mode()
def recognise(batch: Batch, network: Network | Engine, decoder: Decoder, device: Device) -> Decoded:
    """One batch: uint8 images on the host to texts. The network is in evaluation mode."""
    images = normalise(batch.images, device.torch)

    decoder = decoder.for_images(batch.numbers)
    with device.autocast():
        if decoder.needs_features:
            features, time_steps = network.features(images, batch.widths)
            return decoder.decode_features(network.head, features, time_steps)
        logits = network(images, batch.widths)
        return decoder(logits, network.time_steps(batch.widths))


def open_test_set(context: Context, options: Infer, charset: Charset) -> WordDataset:
    """What is to be read: --sets, or the split of --dataset."""
    if options.sets:
        reading = SourceOptions(image_root=options.image_root)
        return open_sets(options.sets, options.split, make_shape(options.data), charset, reading)
    return make_dataset(context, charset, options.split, targets=False)


def open_decoder(options: Infer, charset: Charset, dataset: WordDataset) -> Decoder:
    """How its texts are found. Raises UserError where each image was to have its own lexicon and the first has none."""

    def own_lexicon(number: int) -> Lexicon:
        return Lexicon(dataset.source.lexicon(number, str(options.lexicon_column)), charset)

    if options.lexicon_column:
        own_lexicon(0)
    return Decoder.from_options(
        options.model,
        charset,
        options.decode,
        options.beam,
        options.lexicon,
        options.lexicon_penalty,
        own_lexicon if options.lexicon_column else None,
    )


def try_engine_on(dataset: WordDataset, network: Network, context: Context, options: Infer) -> Engine:
    """What will compute the network, tried on the first images."""
    batch = dataset.__getitems__(list(range(min(options.batch_size, len(dataset)))))
    images = normalise(batch.images, context.device.torch)
    return choose_engine(options.engine, network, context.device, dataset.charset, images, context.say)


def judge_answers(
    measured: MeasuredRun, predictions: list[Prediction], options: Infer, decoder: Decoder
) -> dict[str, Any]:
    """The record's accuracy, which is also printed, and the report of mistakes where one was asked for."""
    dataset = measured.dataset
    accuracy = accuracy_section(predictions, dataset.source, options.split, decoder.method, options.mode)
    report_accuracy(measured.context, str(measured.name), accuracy, predictions, dataset, options.mistakes)
    return accuracy


def make_test_meter(device: Device, options: Infer, steps: int) -> Meter:
    """By the host's clock: a step ends with texts, not with kernels."""
    return make_meter(device, min(options.warmup_steps, steps - 1), events=False)


def warm_card(recognise_batch: Recognise, dataset: WordDataset, device: Device, engine: str, size: int) -> None:
    """A card chooses its kernels for each size of a batch: a whole one, and the rest of the split."""
    if not device.kind.is_card:
        return
    sizes = {min(size, len(dataset)), len(dataset) % size} - {0}
    with InFlight(recognise_batch, device, engine) as readers:
        readers.warm(dataset.__getitems__(list(range(some))) for some in sorted(sizes))


def main(argv: list[str] | None = None) -> None:
    run_test(*parse_by_weights(COMMAND, argv, lambda options: options.checkpoint))


def run_test(options: Infer, given: Collection[str] = ()) -> None:
    """Read the split once for its accuracy, more of it until enough is timed, measure latency, and write the record."""
    options, charset, trained = choose_trained(options, given)
    with open_context(options) as context:
        device, world = context.device, context.world
        instruments = Instruments.open(context)
        dataset = open_test_set(context, options, charset)
        decoder = open_decoder(options, charset, dataset)
        network = make_network(context, charset).eval()
        batches = select_input(make_test_batches(context, dataset), options)
        steps = -(-len(dataset) // (options.batch_size * world.size))  # of one pass over the split
        meter, name = make_test_meter(device, options, steps), make_run_name(context, "Infer")
        measured = MeasuredRun(context, instruments, name, meter, dataset, options.split, network)

        with record_failure(measured):
            context.say(f"{name}: {world.size} x {device.card_name()}, {len(dataset):,} of {dataset.name}")
            tested: TrainingResult = load_trained(network, trained, context, charset)
            measured.weights_sha256 = digest_weights(network.state_dict()) if trained else None
            accuracy, answers = None, AnswerAudit()
            with meter.phase("compile_s"):
                engine = try_engine_on(dataset, network, context, options)
                recognise_batch = partial(recognise, network=engine, decoder=decoder, device=device)
                warm_card(recognise_batch, dataset, device, engine.name, options.batch_size)
            measured.engine = engine.name
            predict_timed = partial(predict, recognise_batch, device=device, engine=engine.name, meter=meter)
            if options.input in FAKE_INPUTS:
                predict_timed(islice(batches, steps))
            else:
                _, predictions = gather_score(predict_timed(batches), world, options.mode)
                answers.remember(predictions)
                if trained:
                    accuracy = judge_answers(measured, predictions, options, decoder)
            while not all(world.gather(meter.enough(options.min_steps, options.min_seconds))):
                answers.compare(predict_timed(islice(batches, steps)))
            with meter.phase("latency_s"):
                latency = measure_latency(recognise_batch, dataset, device, options) if options.latency_runs else []
                audit = answers.section() | audit_repeats(recognise_batch, dataset, device, options.batch_size)
            record = measured.record(latency=latency, accuracy=accuracy, training=tested, audit=audit)
        if world.leads:
            save_record(record, context, name, trained.path if trained else None)


if __name__ == "__main__":
    run_cli(main, "models.test")
