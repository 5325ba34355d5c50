"""Train a recogniser: `python -m models.train --dataset DIR`, or a script of run_scripts/.

Many cards: one process a card under torchrun (the run scripts do it). Each sample of an epoch is seen exactly once over
all ranks; the loss is the mean over the global batch, so that the number of cards does not change what is learned.
"""

from __future__ import annotations

import signal
from dataclasses import asdict, dataclass, field, fields
from itertools import islice
from pathlib import Path

import torch
from torch import Tensor, nn

from bench.errors import UserError, run_cli
from bench.machine.profile import profiled
from bench.machine.world import Vote
from bench.records.record import Record
from models import test
from models.data.augment import MODERATE, augment
from models.data.sampler import BucketSampler, EpochSampler
from models.data.synthetic import Synthetic
from models.dataset import Batch, LabelIssues, WordDataset
from models.network.network import parameters
from models.run.context import Session, normalised
from models.run.measure import Instruments, Run, recorded
from models.run.options import Common, Infer, Train, checkpoint_root, parse
from models.run.signals import Asked, Interrupted, handled
from models.scoring.evaluate import batches_of, evaluate, images_of
from models.training.ablation import KINDS, Kept, fed, is_twin, synchronised
from models.training.anomalies import Watch
from models.training.cuda_graph import Graphed
from models.training.exchange import shared
from models.training.finetune import start_from
from models.training.optimizer import Stepper, fuses, scaled_rate
from models.training.progress import Progress
from models.training.staging import Staged, stage
from models.weights import checkpoint

UNLIMITED = 1 << 16  # steps: an attention head writes a text of any length


@dataclass
class Position:
    """Where training stands: enough to find the next sample after a stop, with any number of cards."""

    epoch: int = 0
    consumed: int = 0  # samples of this epoch already seen, over all ranks
    best: float = -1.0  # word accuracy of the best validation so far


@dataclass
class Training:
    """A run of training. `run()` is the loop; the rest is what the loop says."""

    options: Train
    session: Session
    position: Position = field(default_factory=Position)
    losses: list[float] = field(default_factory=list)
    watch: Watch = field(default_factory=Watch)
    validation: dict | None = None
    resumed_from: int | None = None  # step
    saved: int | None = None  # step of the newest checkpoint

    def __post_init__(self):
        options, session = self.options, self.session
        refuse_graph(options, session)
        self.network = session.network()
        self.train_set, self.unfit = self.fitting(session.dataset("train"))
        self.val_set = session.dataset("val", targets=False)
        self.global_batch = options.batch_size * session.world.size
        self.total_steps = options.steps or options.epochs * self.batches_left(0)
        self.name = session.run_name("Train", None if options.steps else options.epochs, options.steps)
        self.folder = checkpoint_root(options) / str(self.name)
        rate = scaled_rate(options.optimizer, self.global_batch)
        self.stepper = Stepper(
            self.network, session.device, options.optimizer, rate, self.total_steps, recordable=options.graph
        )
        self.learner = Graphed(self.learn) if options.graph else self.learn
        self.sampler = self.sampling()
        self.batches = fed(session.batches(self.train_set, self.sampler), options)
        # A set that stays on the device is brought there once, and not anew for every validation.
        self.val_batches = batches_of(self.val_set, session) if options.input == "resident" else None
        self.asked, self.vote = Asked(), Vote(session.world)
        self.meter = session.meter(min(options.warmup_steps, max(1, self.total_steps // 4)))
        place = (session, self.name, self.meter, self.train_set, "train", self.network)
        self.measured = Run(*place, evidence=self.evidence, trial=self.trial)

    def batches_left(self, consumed: int) -> int:
        """In an epoch of which so many samples are consumed."""
        return -(-(len(self.train_set) - consumed) // self.global_batch)

    def fitting(self, data: WordDataset) -> tuple[WordDataset, LabelIssues]:
        """The samples whose labels the head can learn, and what was left out."""
        if self.options.model.head == "attention":
            unfit = data.label_issues(UNLIMITED)
        else:
            widths = data.widths() if data.shape.keep_ratio else data.shape.width
            unfit = data.label_issues(self.network.time_steps(widths))
        return (data.without(unfit) if len(unfit) else data), unfit

    def sampling(self) -> EpochSampler:
        """Every sample once an epoch; with kept ratios in batches of like widths, so that little of them is padding."""
        place = {"rank": self.session.world.rank, "world": self.session.world.size}
        if self.train_set.shape.keep_ratio:
            return BucketSampler(self.train_set.widths(), self.options.batch_size, self.options.seed, **place)
        return EpochSampler(len(self.train_set), self.options.batch_size, self.options.seed, **place)

    def run(self) -> Record | None:
        """Train to the end, validating after each epoch. Returns the record on the leading rank."""
        if self.session.world.leads:
            checkpoint.claim(self.folder)
        self.start()
        self.resume()
        self.announce()
        self.trained = self.distributed()
        progress = Progress(self.total_steps, self.stepper.step, self.folder, self.session.world.leads)
        with handled(self.asked), progress as self.progress:
            while not self.epoch():
                continue
            breakdown = self.profile() if self.options.profile_steps else None
        return self.record(breakdown)

    def epoch(self) -> bool:
        """The rest of an epoch and its validation. Whether training is over.

        The checkpoint is written before the validation, and stands at the end of the epoch: a run that is stopped while
        it validates goes on there, so that nothing is validated twice or never.
        """
        self.steps()
        if not is_twin(self.options):
            self.save()
            with self.asked.at_once():
                self.validate()
        if self.position.consumed >= len(self.train_set):
            self.position.epoch, self.position.consumed = self.position.epoch + 1, 0
        return self.stepper.step >= self.total_steps

    def profile(self) -> dict:
        """Which kinds of operation a step is made of; what these steps learn is forgotten with the process."""
        batches, steps = iter(Kept(self.batches)), self.stepper.step
        self.learner = self.learn  # a replayed graph does not say which operation launched a kernel
        next(batches)
        found = profiled(lambda: self.update(next(batches)), self.options.profile_steps, self.session.device, KINDS)
        self.stepper.step = steps
        return found

    def distributed(self) -> nn.Module:
        """The network as it is trained: shared among the ranks, compiled if that was asked for."""
        device, network = self.session.device, self.network
        if self.session.world.size > 1:
            network = shared(network, device, self.options.exchange)
        return torch.compile(network, dynamic=False) if self.options.compile else network

    def steps(self) -> None:
        """The steps of this epoch that are left, or as many as the number of steps allows."""
        self.network.train()
        self.sampler.set_epoch(self.position.epoch, self.position.consumed)
        left = islice(self.batches, self.total_steps - self.stepper.step)
        for batch in self.meter.steps(left, images=images_of):
            self.step(batch) if self.options.without != "compute" else self.skip()
            self.position.consumed = min(self.position.consumed + self.global_batch, len(self.train_set))
            if self.vote(bool(self.asked.number)):
                self.stop()
            if self.stepper.step % self.options.save_every == 0:
                self.save()

    def stop(self) -> None:
        """Somebody asked one of the ranks to end: all do, after the same step."""
        if not is_twin(self.options):
            self.save()
        number = self.asked.number or signal.SIGTERM
        raise Interrupted(number, f" after step {self.stepper.step}; --resume goes on there")

    def skip(self) -> None:
        """A step of a twin that only loads."""
        self.stepper.step += 1
        self.progress.advance()

    def update(self, batch: Batch) -> Tensor:
        """Learn from one batch; its share of the loss."""
        self.stepper.set_rate()
        loss = self.learner(self.staged(batch))
        self.stepper.count()
        return loss

    def learn(self, batch: Staged) -> Tensor:
        """What the device does of a step; its share of the loss."""
        with synchronised(self.trained, self.options.without):
            loss = self.loss(batch)
            self.stepper.learn(loss * self.session.world.size)  # DDP averages over ranks; this is a global mean already
        return loss.detach()

    def step(self, batch: Batch) -> None:
        self.losses.append(self.update(batch))
        if self.stepper.step % self.options.log_every == 0:
            self.read_losses()
            self.tell(self.watch.losses(self.losses, self.stepper.skipped))
            if self.stepper.skipped:
                self.tell(self.watch.statistics(self.network))
            self.progress.say(self.stepper.step, loss=self.losses[-1], lr=self.stepper.lr)
        self.progress.advance()

    def tell(self, noticed: str | None) -> None:
        if noticed:
            self.session.say(f"  warning: step {self.stepper.step:,}: {noticed}")

    def staged(self, batch: Batch) -> Staged:
        """The batch on the device, its pictures normalised and, if that was asked for, distorted."""
        images = normalised(batch.images, self.session.device.torch)
        if self.options.augment:
            images = augment(images, MODERATE)
        return stage(batch, images, self.session.device, self.network)

    def loss(self, batch: Staged) -> Tensor:
        """This rank's share of the mean loss over the global batch, in float32."""
        images, head = batch.images, self.network.head
        with self.session.device.autocast():
            logits = self.trained(images, batch.widths, batch.targets)
        widths = torch.full((len(images),), images.shape[-1]) if batch.widths is None else batch.widths
        loss = head.loss(logits, self.network.time_steps(widths), batch.labels, batch.lengths)
        return loss * batch.weight * batch.count / self.global_batch

    def trial(self, pictures: int) -> None:
        """What a step of so many pictures needs in memory, without its learning and without the other ranks."""
        self.trained = self.network
        shape, charset = self.session.shape, self.session.charset
        widest = WordDataset(Synthetic(shape, charset), shape, charset)
        self.loss(self.staged(widest.__getitems__(list(range(pictures))))).backward()

    def read_losses(self) -> None:
        """Bring the losses that are still on the device to the host, in one wait."""
        pending = [i for i, loss in enumerate(self.losses) if isinstance(loss, Tensor)]
        values = torch.stack([self.losses[i] for i in pending]).tolist() if pending else []
        for i, value in zip(pending, values, strict=True):
            self.losses[i] = value * self.session.world.size

    def validate(self) -> None:
        with self.meter.phase("evaluation_s"):
            score, reads = evaluate(self.network, self.val_set, self.session, batches=self.val_batches)
        self.validation = asdict(score)
        self.progress.validated(self.stepper.step, self.position.epoch + 1, score)
        self.tell(self.watch.texts([one.text for one in reads]))
        if score.word_accuracy > self.position.best:
            self.position.best = score.word_accuracy
            self.write(self.folder / "best.pt")

    def save(self) -> None:
        if self.saved == self.stepper.step:
            return
        with self.meter.phase("checkpoint_s"):
            self.write(None)
        self.saved = self.stepper.step

    def write(self, path: Path | None) -> None:
        """Write a checkpoint, as `last.pt` when no path is given. The generators of all ranks are in it."""
        states = self.session.world.gather(checkpoint.random_state(self.session.device))
        if not self.session.world.leads:
            return
        content = {
            "network": self.network.state_dict(),
            "stepper": self.stepper.state_dict(),
            "position": asdict(self.position),
            "random": states,
            "charset": self.session.charset.characters,
            "recipe": self.options.recipe,
            "data": asdict(self.options.data),
            "model": asdict(self.options.model),
            "run": str(self.name),
            "job": self.session.world.job,
            "dataset": self.train_set.name,
            "global_batch": self.global_batch,
        }
        checkpoint.write(content, path) if path else checkpoint.write_last(content, self.folder)

    def start(self) -> None:
        """With --start_from, begin with the weights of another run."""
        if path := self.options.start_from:
            content = checkpoint.trained(path)
            try:
                theirs = content["network"], content["charset"]
                said = start_from(self.network, *theirs, self.session.charset, content.get("model"))
            except UserError as refusal:
                raise UserError(f"{path}: {refusal}") from None
            self.session.say(f"starting from {path}: {said}")

    def newest(self) -> tuple[dict, Path] | None:
        """What to go on from: with --resume the run's newest readable checkpoint, else one of this very job.

        A job that finds its own checkpoint has been started again. torchrun's count of restarts does not tell: it is
        another on every host, and stays 0 on one that only followed the others.
        """
        world = self.session.world
        if not world.leads or not (self.options.resume or world.job):
            return None
        if self.options.resume:
            return checkpoint.read_last(checkpoint.newest_folder(self.name, self.folder))
        found = checkpoint.read_last(self.folder)
        return found if found and found[0].get("job") == world.job else None

    def resume(self) -> None:
        """Go on where a checkpoint stands. The leader reads it for all: hosts need not share a disk."""
        found = self.session.world.share(self.newest())
        if not found:
            return
        content, path = found
        checkpoint.load_network(self.network, content, path, self.session.charset.characters, self.options.recipe)
        self.stepper.load_state_dict(content["stepper"])
        self.position = Position(**content["position"])
        if content.get("global_batch", self.global_batch) != self.global_batch and not self.options.steps:
            # Other batches make another number of steps; what counts is how much of the epochs is left.
            left = (self.options.epochs - self.position.epoch - 1) * self.batches_left(0)
            self.stepper.step = self.total_steps - left - self.batches_left(self.position.consumed)
        if len(content["random"]) == self.session.world.size:
            checkpoint.restore_random_state(content["random"][self.session.world.rank], self.session.device)
        self.resumed_from = self.saved = self.stepper.step
        self.session.say(f"resuming from {path}: step {self.stepper.step} of {self.total_steps}")

    def announce(self) -> None:
        session, data = self.session, self.train_set
        sample = " (a rendered sample, not Synth90k)" if data.is_sample else ""
        session.say(
            f"{self.name}: {session.world.size} x {session.device.card_name()}, "
            f"{parameters(self.network):,} parameters\n"
            f"  {len(data):,} pictures of {data.name}{sample}, batch {self.options.batch_size} a card, "
            f"{self.global_batch} in all, {self.total_steps:,} steps\n"
            f"  {self.options.optimizer.name}, rate {self.stepper.rate:.3g} = {self.options.optimizer.lr:g}"
            f" x sqrt({self.global_batch} / {self.options.optimizer.lr_batch}), {self.options.optimizer.schedule}"
        )
        if len(self.unfit):
            session.say(f"  left out of training: {self.unfit}")

    def evidence(self) -> dict:
        """How far training came, as far as this rank alone knows: others of a failed run may be gone."""
        training = {
            "epochs": self.position.epoch,
            "steps": self.stepper.step,
            "total_steps": self.total_steps,
            "skipped_steps": self.stepper.skipped,
            "noticed": list(self.watch.noticed.values()),
            "resumed_from_step": self.resumed_from,
            "restarts": self.session.world.restarts,
        }
        return {"training": training}

    def record(self, breakdown: dict | None) -> Record | None:
        self.read_losses()
        losses = self.session.world.gather(self.losses)
        mean = [sum(step) / len(step) for step in zip(*losses, strict=True)]
        evidence = self.evidence()
        evidence["training"] |= {"loss": mean, "restarts": max(self.session.world.gather(self.session.world.restarts))}
        record = self.measured.record(
            breakdown=breakdown,
            accuracy=self.validation and {"split": "val", **self.validation},
            **evidence,
        )
        return record if self.session.world.leads else None


def refuse_graph(options: Train, session: Session) -> None:
    """Raises UserError with what a CUDA graph of the whole step cannot be made of."""
    for wrong, reason in (
        (session.device.kind.type != "cuda", f"a GPU, and this is {session.device.kind.name}"),
        (session.world.size > 1, "one card: leave --graph out, large batches gain little from it"),
        (options.model.head != "ctc", "a CTC head: attention asks the host for its lengths"),
        (options.data.keep_ratio, "pictures of one width: --data.keep_ratio gives every batch its own"),
        (not fuses(options.optimizer.name, session.device), "--optimizer.name adam or adamw: others ask the host"),
    ):
        if options.graph and wrong:
            raise UserError(f"--graph needs {reason}")


def main(argv: list[str] | None = None) -> None:
    options = parse(Train, argv, "models.train", "python -m models.train --dataset data/sample --steps 20")
    if options.test_only:
        shared = {field.name: getattr(options, field.name) for field in fields(Common)}
        return test.perform(Infer(**shared, checkpoint=options.start_from, latency_runs=0))
    session = Session.open(options)
    try:
        session.instruments = Instruments.open(session)
        training = Training(options, session)
        with recorded(training.measured, options):
            record = training.run()
        if record:
            session.say(f"record: {record.save(options.results)}")
    finally:
        session.world.leave()


if __name__ == "__main__":
    run_cli(main, "models.train")
