"""Save, restore and resume a run of training. models/weights/checkpoint.py writes and reads the files."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from bench.errors import UserError
from bench.machine.world import World
from bench.records.run_name import RunName
from models.data.charset import Charset
from models.network.network import Network
from models.run.context import Context
from models.run.options import Train
from models.training.finetune import load_pretrained
from models.training.optimizer import GuardedOptimizer
from models.weights import checkpoint


@dataclass
class Position:
    """Where training stands: enough to find the next sample after a stop, with any number of cards."""

    epoch: int = 0
    consumed: int = 0  # samples of this epoch already seen, over all ranks
    best: float = -1.0  # word accuracy of the best validation so far


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
    dataset: str  # its name
    saved_step: int | None = None  # of the newest last.pt
    resumed_step: int | None = None  # of the checkpoint that this run went on from

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
            "run": str(self.name),
            "job": world.job,
            "dataset": self.dataset,
            "global_batch": self.options.batch_size * world.size,
        }
        checkpoint.write(content, self.folder / "best.pt") if best else checkpoint.write_last(content, self.folder)

    def restore(self, samples: int) -> None:
        """Start from --start-from, or go on where the newest checkpoint of this run stands. samples: of an epoch."""
        if path := self.options.start_from:
            self.load_pretrained(path)
        newest = find_newest(self.options, self.context.world, self.name, self.folder)
        if found := self.context.world.share(newest):  # the leader reads it for all: hosts need not share a disk
            content, path = found
            self.resume(content, path, samples)

    def load_pretrained(self, path: Path) -> None:
        content = checkpoint.read_trained(path)
        try:
            theirs = content["network"], content["charset"]
            message = load_pretrained(self.network, *theirs, self.charset, content.get("model"))
        except UserError as refusal:
            raise UserError(f"{path}: {refusal}") from None
        self.context.say(f"starting from {path}: {message}")

    def resume(self, content: dict, path: Path, samples: int) -> None:
        world, options, optimizer, position = self.context.world, self.options, self.optimizer, self.position
        checkpoint.restore_weights(self.network, content, path, self.charset.characters, options.recipe)
        optimizer.load_state_dict(content["stepper"])
        for name, value in content["position"].items():
            setattr(position, name, value)
        batch = options.batch_size * world.size
        if content.get("global_batch", batch) != batch and not options.steps:
            # Other batches make another number of steps; what counts is how much of the epochs is left.
            left = (options.epochs - position.epoch - 1) * batches_left(samples, 0, batch)
            optimizer.step = optimizer.total_steps - left - batches_left(samples, position.consumed, batch)
        if len(content["random"]) == world.size:
            checkpoint.restore_random_state(content["random"][world.rank], self.context.device)
        self.resumed_step = self.saved_step = optimizer.step
        self.context.say(f"resuming from {path}: step {optimizer.step} of {optimizer.total_steps}")


def batches_left(samples: int, consumed: int, batch: int) -> int:
    """Batches left in an epoch of so many samples after `consumed` of them."""
    return -(-(samples - consumed) // batch)


def find_newest(options: Train, world: World, name: RunName, folder: Path) -> tuple[dict, Path] | None:
    """What to resume from: with --resume the run's newest readable checkpoint, else one of this very job.

    A job that finds its own checkpoint has been restarted. torchrun's count of restarts does not tell: it differs
    between hosts, and stays 0 on one that only followed the others.
    """
    if not world.leads or not (options.resume or world.job):
        return None
    if options.resume:
        return checkpoint.read_last(checkpoint.newest_folder(name, folder))
    found = checkpoint.read_last(folder)
    return found if found and found[0].get("job") == world.job else None
