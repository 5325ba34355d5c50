"""Save, restore and resume a run of training. models/weights/checkpoint.py writes and reads the files."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path

from bench.errors import UserError
from bench.files import write_file
from bench.machine.world import World
from bench.records.run_name import RunName
from models.data.charset import Charset
from models.dataset import WordDataset
from models.network.network import Network
from models.run.context import Context
from models.run.options import Train, images_per_step
from models.training.ablation import is_ablation
from models.training.curves import Curves
from models.training.finetune import load_pretrained
from models.training.identity import OTHER_ORDER, differences, plain_options, refuse_differences
from models.training.moving_average import MovingAverage
from models.training.optimizer import GuardedOptimizer
from models.weights import checkpoint

NOTHING = [-1.0, float("-inf"), float("-inf")]  # worse than any validation


@dataclass
class Position:
    """Where training stands: enough to find the next sample after a stop, with any number of cards."""

    epoch: int = 0
    consumed: int = 0  # samples of this epoch already seen, over all ranks
    # The best validation so far: word accuracy, and where that is equal minus CER, then minus the loss of training.
    best: list[float] = field(default_factory=lambda: [*NOTHING])
    since_best: int = 0  # validations after it
    validated: int = 0  # the step of the newest validation
    losses: list[tuple[float, float]] = field(default_factory=list)  # LossHistory.since_validation

    def restore(self, kept: dict) -> None:
        """What a checkpoint says. An older one has a bare word accuracy for `best`."""
        for name, value in kept.items():
            setattr(self, name, value)
        if not isinstance(self.best, list):
            self.best = [float(self.best), *NOTHING[1:]]

    def judge(self, score: list[float], step: int) -> bool:
        """Note a validation. Whether it is the best so far."""
        self.validated = step
        better = score > self.best
        self.best, self.since_best = (score, 0) if better else (self.best, self.since_best + 1)
        return better


@dataclass
class Snapshots:
    """The checkpoints of one run, in its folder: last.pt, previous.pt, best.pt. All ranks call `save`."""

    context: Context
    options: Train
    name: RunName
    folder: Path
    network: Network
    optimizer: GuardedOptimizer
    position: Position
    charset: Charset
    dataset: WordDataset  # of training
    average: MovingAverage
    curves: Curves
    saved_step: int | None = None  # of the newest last.pt
    resumed_step: int | None = None  # of the checkpoint that this run went on from
    replaces: bool = False  # the first to be saved takes the place of another run's

    def is_own(self, path: Path) -> bool:
        return path.resolve().parent == self.folder.resolve()

    def save(self, best: bool = False) -> None:
        """Write last.pt, or best.pt. The generators of all ranks are in it."""
        world = self.context.world
        states = world.gather(checkpoint.random_state(self.context.device))
        if not best:
            self.saved_step = self.optimizer.step
        if not world.leads:
            return
        content = {
            "network": self.network.state_dict(),
            "stepper": self.optimizer.state_dict(),
            "position": asdict(self.position),
            "random": states,
            "charset": self.charset.characters,
            "recipe": self.options.recipe,
            "data": asdict(self.options.data),
            "model": asdict(self.options.model),
            "options": plain_options(self.options),
            "run": str(self.name),
            "job": world.job,
            "dataset": self.dataset.name,
            "data_digest": asdict(digest) if (digest := self.dataset.digest) else None,
            "global_batch": images_per_step(self.options, world.size),
        }
        if averaged := self.average.state_dict():
            content["average"] = averaged
        if self.replaces:
            checkpoint.remove_all(self.folder)
            self.replaces = False
        self.curves.save(self.folder)
        checkpoint.write(content, self.folder / "best.pt") if best else checkpoint.write_last(content, self.folder)

    def restore(self, samples: int) -> None:
        """Start from --start-from, or go on where a checkpoint stands. samples: of an epoch.

        Raises UserError where there is none to go on from, where it is of other data or options, and where this run
        would replace another one's checkpoints.
        """
        if path := self.options.start_from:
            self.load_pretrained(path)
        if is_ablation(self.options):  # which saves nothing
            return
        if found := self.context.world.share(self.find(samples)):  # hosts need not share a disk
            content, path, changed = found
            self.resume(content, path, samples, changed)

    def find(self, samples: int) -> tuple[dict, Path, set[str]] | None:
        """On the leading rank: the checkpoint to go on from, and in what it differs."""
        if not self.context.world.leads:
            return None
        found = find_newest(self.options, self.context.world, self.name, self.folder)
        if found is None or not self.is_own(found[1]):
            self.replaces = refuse_finished(self.folder, self.options)
        if found is None:
            return None
        content, path = found
        checkpoint.refuse_other(content, path, self.charset.characters, self.options.recipe)
        if missing := {"stepper", "position", "random"} - content.keys():
            raise UserError(
                f"{path}: has weights but no {', '.join(sorted(missing))} of a training: begin with --start-from"
            )
        changed = differences(content, self.options, samples, lambda: self.dataset.digest)
        refuse_differences(changed, path, self.options)
        for said in changed.values():
            self.context.say(f"  going on with other options, as --allow says: {'; '.join(said)}")
        if not self.is_own(path):
            self.keep_best(content, path)
        return content, path, set(changed)

    def keep_best(self, content: dict, path: Path) -> None:
        """Of a run that goes on in another folder: its best network goes along, or the next validation's is it."""
        best = path.with_name("best.pt")
        own = self.folder / "best.pt"
        if best.exists() and checkpoint.read(best).get("position", {}).get("best") == content["position"]["best"]:
            if self.replaces:
                checkpoint.remove_all(self.folder)
                self.replaces = False
            write_file(own, best.read_bytes(), sync=True)
        else:
            content["position"] = {**content["position"], "best": [*NOTHING]}

    def load_pretrained(self, path: Path) -> None:
        content = checkpoint.read_trained(path)
        try:
            theirs = content["network"], content["charset"]
            message = load_pretrained(self.network, *theirs, self.charset, content.get("model"))
        except UserError as refusal:
            raise UserError(f"{path}: {refusal}") from None
        self.average.load_state_dict({})
        self.context.say(f"starting from {path}: {message}")

    def resume(self, content: dict, path: Path, samples: int, changed: set[str]) -> None:
        world, options, optimizer, position = self.context.world, self.options, self.optimizer, self.position
        checkpoint.restore_weights(self.network, content, path, self.charset.characters, options.recipe)
        theirs = (content.get("options") or {}).get("optimizer", {}).get("name", options.optimizer.name)
        optimizer.load_state_dict(content["stepper"], same_kind=theirs == options.optimizer.name)
        self.average.load_state_dict(content.get("average") or {})
        position.restore(content["position"])
        refuse_other_shares(content, options.input, world.size, samples)
        if changed & set(OTHER_ORDER):
            position.consumed = 0  # its epoch begins anew: what was seen of it was other samples
        batch = images_per_step(options, world.size)
        if not options.steps:
            # Other batches, epochs or data make another number of steps; what counts is what of the epochs is left.
            left = (options.epochs - position.epoch - 1) * batches_left(samples, 0, batch)
            optimizer.step = optimizer.total_steps - left - batches_left(samples, position.consumed, batch)
        if optimizer.step > optimizer.total_steps:
            done = f"step {optimizer.step:,}" if options.steps else f"epoch {position.epoch + 1}"
            asked = f"--steps {options.steps:,}" if options.steps else f"--epochs {options.epochs}"
            raise UserError(f"{path}: stands at {done} already, and {asked} is less; ask for more")
        if len(content["random"]) == world.size and "seed" not in changed:
            checkpoint.restore_random_state(content["random"][world.rank], self.context.device)
        self.resumed_step = self.saved_step = optimizer.step
        self.curves.load(path.parent, optimizer.step)
        if not self.is_own(path):
            self.saved_step = None  # this folder has none yet
        before = content.get("global_batch", batch)
        cards = f"; a step was {before} images, now {batch}" if before != batch else ""
        self.context.say(f"resuming from {path}: step {optimizer.step} of {optimizer.total_steps}{cards}")


def refuse_other_shares(content: dict, own: str, ranks: int, samples: int) -> None:
    """Raises UserError for a checkpoint from within an epoch whose rest cannot be found, as cards kept shares of it."""
    theirs, before = (content.get("options") or {}).get("input"), len(content["random"])
    same = theirs == own and before == ranks
    if "sharded" in (theirs, own) and not same and 0 < content["position"]["consumed"] < samples:
        raise UserError(
            f"--input {theirs} on {before} cards was stopped within an epoch, and --input {own} on {ranks} cards has"
            f" another order of it: go on with --input {theirs} on {before} cards, or from the end of an epoch"
        )


def batches_left(samples: int, consumed: int, batch: int) -> int:
    """Batches left in an epoch of so many samples after `consumed` of them."""
    return -(-(samples - consumed) // batch)


def find_newest(options: Train, world: World, name: RunName, folder: Path) -> tuple[dict, Path] | None:
    """On the leading rank: the checkpoint to go on from. Raises UserError when --resume finds none.

    A job that finds its own checkpoint has been restarted, and goes on there whatever its options say. torchrun's count
    of restarts does not tell: it differs between hosts, and stays 0 on one that only followed the others.
    """
    if not world.leads:
        return None
    if world.job and (own := checkpoint.read_last(folder)) and own[0].get("job") == world.job:
        return own
    if options.resume is None:
        return None
    if options.resume not in ("last", "auto"):
        path = Path(options.resume)
        return checkpoint.read(path), path
    places = checkpoint.folders_of(name, folder, any_length=options.resume == "last")
    for place in places:
        if found := checkpoint.read_last(place):
            return found
    if options.resume == "auto":
        return None
    others = ", ".join(sorted(path.parent.name for path in folder.parent.glob("*/last.pt"))) or "no run at all"
    raise UserError(
        f"--resume: no last.pt of {name}, on any number of cards and of any length, in {folder.parent}, which has"
        f" {others}; name a checkpoint, --resume FILE, or leave --resume out"
    )


def refuse_finished(folder: Path, options: Train) -> bool:
    """Whether --overwrite lets this run replace the checkpoints in its folder. Raises UserError without it."""
    if not any((folder / name).exists() for name in checkpoint.NAMES):
        return False
    if not options.overwrite:
        raise UserError(
            f"{folder}: holds the checkpoints of a run already: go on from them with --resume, replace them with"
            " --overwrite, or choose other --checkpoints"
        )
    return True
