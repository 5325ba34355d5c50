"""Train a recogniser: `python -m models.train --dataset DIR`, or a script of run_scripts/.

Many cards: one process per card under torchrun (the run scripts do it). Each sample of an epoch is seen exactly once
over all ranks; the loss is the mean over the global batch, so that the number of cards does not change what is learned.
The step that is measured is `Training.train_step`.
"""

from __future__ import annotations

if not __package__:  # `python models/train.py`, from any folder: its own is on the path, and not the checkout
    __import__("sys").path.insert(0, __file__.rsplit("/", 2)[0])

import math
import signal
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, fields
from functools import partial
from itertools import islice, takewhile
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from bench.errors import UserError, run_cli
from bench.files import write_file
from bench.machine.profile import profile_shares
from bench.machine.world import Vote
from bench.records.sections import Accuracy, Breakdown, TrainingResult
from models import test, weights
from models.data.charset import Charset
from models.dataset import Batch
from models.decoding.decoder import Decoder
from models.run.announce import announce_training
from models.run.context import (
    Context,
    make_batches,
    make_meter,
    make_network,
    make_run_name,
    make_test_batches,
    make_train_sampler,
    make_train_set,
    make_val_set,
    open_context,
)
from models.run.measure import Instruments, MeasuredRun, record_failure
from models.run.options import ON_DEVICE, Common, Infer, Train, checkpoint_root, images_per_step, recipe_command
from models.run.rerun import save_record, write_options
from models.run.signals import Interrupted, StopRequest, handle_signals
from models.run.trained import parse_by_weights
from models.scoring.evaluate import gather_score, predict
from models.scoring.metrics import read_right
from models.training.ablation import KINDS, RepeatBatches, is_ablation, select_input
from models.training.accumulation import AccumulatedStep, BatchGroups, check_accumulation, count_images_of_step
from models.training.anomalies import AnomalyMonitor
from models.training.cuda_graph import CUDAGraphStep, ExchangedGraphStep, check_graph
from models.training.curves import Curves, check_curves
from models.training.device_batch import DeviceBatch, to_device
from models.training.exchange import FlatGradients, exchange_gradients
from models.training.finetune import FROZEN_NEEDS, freeze_weights, to_training_mode
from models.training.memory import try_batch
from models.training.moving_average import MovingAverage
from models.training.optimizer import GuardedOptimizer, scale_lr
from models.training.progress import ProgressBar
from models.training.result import LossHistory, gather_result, training_progress
from models.training.snapshot import Position, Snapshots, batches_left
from models.training.target import Target
from models.weights import checkpoint
from models.weights.checksum import digest_weights

COMMAND = recipe_command("models.train", Train, "--dataset data/sample --steps 20")


class Training:
    """A run of training: the step, the loop around it, and what they read and change."""

    def __init__(self, context: Context, options: Train):
        device, world = context.device, context.world
        check_graph(options, device, world)
        check_accumulation(options, world.size)
        check_curves(options.curves)
        self.target = Target.parse(options.until)
        charset = Charset.named(options.data.charset, options.data.right_to_left)
        self.context, self.options, self.device, self.ranks = context, options, device, world.size
        self.network = make_network(context, charset)
        freeze_weights(self.network, options.freeze)
        self.train_set, self.left_out = make_train_set(context, charset, self.network)
        self.val_set = make_val_set(context, charset, options.validate_samples)
        self.global_batch = images_per_step(options, world.size)
        self.total_steps = options.steps or options.epochs * batches_left(len(self.train_set), 0, self.global_batch)
        self.name = make_run_name(context, "Train", None if options.steps else options.epochs, options.steps)
        self.optimizer = GuardedOptimizer(
            self.network, device, options.optimizer, scale_lr(options.optimizer, self.global_batch), self.total_steps,
            capturable=options.graph, nonfinite=options.nonfinite,
        )  # fmt: skip
        self.average = MovingAverage(self.network, options.ema)
        self.model = wrap_network(self.network, context, options)
        self.to_device = partial(to_device, device=device, network=self.network, augmented=options.augment)
        self.step = self.choose_step()
        self.sampler = make_train_sampler(context, self.train_set)
        self.batches = self.choose_batches()
        # A resident set is copied to the device once, not for every validation.
        self.val_batches = make_test_batches(context, self.val_set) if options.input in ON_DEVICE else None
        self.decoder = Decoder(charset, options.model.head)
        self.position, self.curves = Position(), Curves()
        folder = checkpoint_root(options) / str(self.name)
        self.snapshots = Snapshots(
            context, options, self.name, folder, self.network, self.optimizer, self.position, charset, self.train_set,
            self.average, self.curves,
        )  # fmt: skip
        self.losses = LossHistory(world.size)
        self.accuracy: Accuracy | None = None  # of the last validation
        self.monitor, self.stop_request, self.vote = AnomalyMonitor(), StopRequest(), Vote(world)
        self.progress = ProgressBar(self.total_steps, folder, world.leads)
        self.meter = make_meter(device, min(options.warmup_steps, max(1, self.total_steps // 4)))

    def train_step(self, batch: Batch | DeviceBatch) -> Tensor:
        """One step, from a batch on the host to updated weights. This rank's share of the loss, on the device."""
        batch = self.to_device(batch)  # normalised and, with --augment, distorted

        with self.device.autocast():
            logits = self.model(batch.images, batch.widths, batch.targets)
        loss = self.network.head.loss(logits, batch.time_steps, batch.labels, batch.lengths)
        loss = loss * batch.weight * batch.count / self.global_batch  # ranks add up to the mean over the global batch

        self.optimizer.zero_grad()
        self.optimizer.scale(loss * self.ranks).backward()  # gradients are averaged over ranks on the way
        norm = self.optimizer.clip_gradients()
        self.optimizer.update(norm)  # unless it is not finite
        return loss.detach()

    def choose_batches(self) -> Iterable[Any]:
        """What a step is made with: a batch, or with --accumulate a list of them."""
        batches = select_input(make_batches(self.context, self.train_set, self.sampler), self.options)
        return BatchGroups(batches, self.options.accumulate) if self.options.accumulate > 1 else batches

    def choose_step(self) -> Callable[[Any], Tensor | None]:
        """`train_step`, or what stands for it under --graph, --accumulate and --without compute."""
        if self.options.without == "compute":
            return lambda batch: None
        if self.options.accumulate > 1:
            return AccumulatedStep(self.train_step, self.optimizer, self.model)
        if not self.options.graph:
            return self.train_step
        if self.ranks == 1:
            return CUDAGraphStep(self.train_step, self.to_device)
        sync = self.options.without != "sync"
        gradients = FlatGradients(self.network, self.options.exchange, self.ranks, sync)
        return ExchangedGraphStep(self.train_step, self.to_device, self.optimizer, gradients)

    def train_epoch(self) -> None:
        """The steps of this epoch that are left, or as many as the number of steps allows. This loop is measured."""
        to_training_mode(self.network, self.options.freeze)
        self.sampler.set_epoch(self.position.epoch, self.position.consumed)
        wanted = takewhile(lambda _: not self.is_over, self.batches)
        batches = islice(wanted, self.total_steps - self.optimizer.step)
        for batch in self.meter.steps(batches, images=count_images_of_step):
            self.optimizer.set_lr()
            loss = self.step(batch)
            self.optimizer.count_step()
            self.after_step(loss)

    def after_step(self, loss: Tensor | None) -> None:
        """Count the images; now and then log, stop after a signal, write a checkpoint.

        The meter times it with the step, as every trainer pays for it, but for checkpoints: they are a phase.
        """
        options, step = self.options, self.optimizer.step
        if loss is not None:
            self.average.update()
            self.losses.append(loss)
            if step % options.log_every == 0:
                self.log()
        self.progress.advance()
        self.position.consumed = min(self.position.consumed + self.global_batch, len(self.train_set))
        if self.vote(bool(self.stop_request.signal)):  # all ranks stop after the same step
            if not is_ablation(options):
                self.save()
            number = self.stop_request.signal or signal.SIGTERM
            raise Interrupted(number, f" after step {step}; --resume goes on there")
        if step % options.save_every == 0:
            self.save()
        self.validate_on_time()

    def validate_on_time(self) -> None:
        """Inside an epoch, every --validate-every steps."""
        every = self.options.validate_every
        if every and self.optimizer.step and self.optimizer.step % every == 0:
            self.save_and_validate()

    def save_and_validate(self) -> None:
        """Unless this step has been. The checkpoint is first: a run that is stopped in the validation resumes there."""
        if is_ablation(self.options) or self.position.validated == self.optimizer.step:
            return
        self.save()
        with self.stop_request.immediate(), self.average.in_place():
            self.validate()
        self.compare_target()
        to_training_mode(self.network, self.options.freeze)

    def run(self) -> Breakdown | None:
        """Train to the end, validating after each epoch. Shares of a profile, where one was asked for."""
        if self.context.world.leads:
            checkpoint.claim(self.snapshots.folder)
        self.snapshots.restore(len(self.train_set))
        self.losses.go_on(self.position.losses, self.context.world)
        self.refuse_frozen_random()
        if self.context.world.leads and not is_ablation(self.options):
            write_options(self.options, self.snapshots.folder / "run.yaml", self.name, self.device.kind.name)
        announce_training(
            self.context, self.options, self.name, self.train_set, self.left_out, self.network, self.total_steps,
            self.optimizer.peak_lr,
        )  # fmt: skip
        with handle_signals(self.stop_request), self.progress.from_step(self.optimizer.step):
            self.validate_on_time()  # a run that was stopped in a validation
            while True:
                self.train_epoch()
                self.save_and_validate()
                if self.position.consumed >= len(self.train_set):
                    self.position.epoch, self.position.consumed = self.position.epoch + 1, 0
                if self.optimizer.step >= self.total_steps or self.is_over:
                    break
            return self.profile() if self.options.profile_steps else None

    def refuse_frozen_random(self) -> None:
        """Raises UserError where --freeze would keep weights that nobody has trained."""
        options = self.options
        begins = options.start_from or options.model.pretrained or self.snapshots.resumed_step is not None
        if options.freeze and not begins and not is_ablation(options):
            raise UserError(f"{FROZEN_NEEDS} --start-from, --resume or --model.pretrained")

    def validate(self) -> None:
        self.network.eval()
        recognise = partial(test.recognise, network=self.network, decoder=self.decoder, device=self.device)
        with self.meter.phase("evaluation_s"):
            batches = self.val_batches or make_test_batches(self.context, self.val_set)
            score, predictions = gather_score(
                predict(recognise, batches, self.device), self.context.world, self.options.mode
            )
        right = read_right([one.truth for one in predictions], [one.text for one in predictions], self.options.mode)
        # Score names its fields as the record does.
        self.accuracy = cast(Accuracy, {"split": "val", **asdict(score), "right": right})
        if len(self.val_set) < len(self.val_set.source):
            self.accuracy["split_n"] = len(self.val_set.source)
        loss = self.losses.mean_since_validation(self.context.world)
        self.losses.begin_validation()
        if math.isfinite(loss) and self.curves.lacks_loss(self.optimizer.step):
            self.progress.log(self.optimizer.step, loss=loss, lr=self.optimizer.lr)
            self.curves.log(self.optimizer.step, loss, self.optimizer.lr)
        self.curves.log_validation(self.optimizer.step, score)
        if self.context.world.leads:
            self.curves.save(self.snapshots.folder)
            if self.options.curves:
                self.curves.draw(self.options.curves, str(self.name))
        shown = predictions[:: max(1, len(predictions) // max(1, self.options.validate_shown))]
        self.progress.log_validation(
            self.optimizer.step, self.position.epoch + 1, score, shown[: self.options.validate_shown]
        )
        self.warn(self.monitor.check_texts([one.text for one in predictions]))
        if self.position.judge([score.word_accuracy or 0.0, -score.cer, -loss], self.optimizer.step):
            self.position.losses = []
            with self.meter.phase("checkpoint_s"):
                self.snapshots.save(best=True)

    @property
    def is_stale(self) -> bool:
        """Whether --early-stop ends the run."""
        return 0 < self.options.early_stop <= self.position.since_best

    def compare_target(self) -> None:
        """Whether the validation is what --until asks for; after how long it was."""
        seconds = self.meter.clock() - (self.meter.first_s or 0.0)
        images = self.meter.images_begun * self.ranks
        share = self.accuracy["word_accuracy"] if self.accuracy else None
        self.target.compare(share or 0.0, seconds, images)

    @property
    def is_over(self) -> bool:
        """Whether --early-stop or --until ends the run before its last step."""
        return self.is_stale or self.target.is_reached

    def save(self) -> None:
        """Write last.pt, unless it is of this step already."""
        if self.snapshots.saved_step != self.optimizer.step:
            self.position.losses = self.losses.since_validation(self.context.world)
            with self.meter.phase("checkpoint_s"):
                self.snapshots.save()

    def log(self) -> None:
        """Read the losses, look for anomalies, show loss and learning rate."""
        losses = self.losses.read()
        self.warn(self.monitor.check_losses(losses, self.optimizer.skipped))
        self.warn(self.monitor.check_zeroed(self.optimizer.zeroed_steps))
        if self.optimizer.skipped or self.optimizer.zeroed_steps:
            self.warn(self.monitor.reset_statistics(self.network))
        self.progress.log(self.optimizer.step, loss=losses[-1], lr=self.optimizer.lr)
        self.curves.log(self.optimizer.step, losses[-1], self.optimizer.lr)

    def warn(self, message: str | None) -> None:
        if message:
            self.context.say(f"  warning: step {self.optimizer.step:,}: {message}")

    def profile(self) -> Breakdown:
        """Which kinds of operation a step is made of. A replayed graph does not say which launched a kernel."""
        batches: Iterator[Any] = iter(RepeatBatches(self.batches))
        next(batches)
        options = self.options
        one_step = self.step if options.accumulate > 1 else self.train_step
        if isinstance(self.step, ExchangedGraphStep):
            one_step = self.step.eager
        trace = self.trace_file if self.context.world.leads else None
        return profile_shares(lambda: one_step(next(batches)), options.profile_steps, self.device, KINDS, trace)

    @property
    def trace_file(self) -> Path:
        """Of the profile, until the record has a name."""
        return self.snapshots.folder / "trace.json.gz"

    def progress_section(self) -> TrainingResult:
        """How far training came, for the record of a run that failed too."""
        restarts = self.context.world.restarts
        progress = training_progress(
            self.position, self.optimizer, self.monitor, self.snapshots, restarts, self.is_stale
        )
        return {**progress, **self.target.section()}


def wrap_network(network: nn.Module, context: Context, options: Train) -> Callable[..., Tensor]:
    """The network as a step calls it: its gradients exchanged between ranks, compiled with --compile.

    With --graph they are exchanged by the step: choose_step().
    """
    if context.world.size > 1 and not options.graph:
        network = exchange_gradients(network, context.device, options.exchange, sync=options.without != "sync")
    return torch.compile(network, dynamic=False) if options.compile else network


def main(argv: list[str] | None = None) -> None:
    options = COMMAND.parse(argv)
    options.start_from = options.start_from and weights.find(options.start_from)
    if options.test_only:
        options, given = parse_by_weights(COMMAND, argv, lambda options: options.start_from)
        shared = {field.name: getattr(options, field.name) for field in fields(Common)}
        test.run_test(Infer(**shared, checkpoint=options.start_from, latency_runs=0), given)
        return
    with open_context(options) as context:
        instruments = Instruments.open(context)
        training, start = Training(context, options), options.start_from
        measured = MeasuredRun(
            context, instruments, training.name, training.meter, training.train_set, "train", training.network,
            evidence=lambda: {"training": training.progress_section()},
            try_batch=partial(try_batch, training.network, training.device, training.train_set),
            weights_sha256=digest_weights(checkpoint.read_trained(start)["network"]) if start else None,
        )  # fmt: skip
        with record_failure(measured):
            breakdown = training.run()
            result = gather_result(training.progress_section(), training.losses, context.world)
            record = measured.record(breakdown=breakdown, accuracy=training.accuracy, training=result)
        if context.world.leads:
            path = save_record(record, context, training.name)
            if breakdown:
                trace = write_file(path.with_suffix(".trace.json.gz"), training.trace_file.read_bytes())
                context.say(f"trace: {trace}")


if __name__ == "__main__":
    run_cli(main, "models.train")
