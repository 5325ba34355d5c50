"""What a training run prints when it begins."""

from __future__ import annotations

from bench.records.run_name import RunName
from models.data.label_filter import LabelIssues
from models.dataset import WordDataset
from models.network.network import Network, count_parameters
from models.run.context import Context
from models.run.options import Train


def announce_training(
    context: Context,
    options: Train,
    name: RunName,
    dataset: WordDataset,
    left_out: LabelIssues,
    network: Network,
    total_steps: int,
    lr: float,
) -> None:
    """Print what is trained, on what, with which batch and learning rate."""
    sample = " (a rendered sample, not Synth90k)" if dataset.is_sample else ""
    batch = options.batch_size * context.world.size
    context.say(
        f"{name}: {context.world.size} x {context.device.card_name()}, {count_parameters(network):,} parameters\n"
        f"  {len(dataset):,} images of {dataset.name}{sample}, batch {options.batch_size} per card, "
        f"{batch} in all, {total_steps:,} steps\n"
        f"  {options.optimizer.name}, learning rate {lr:.3g} = {options.optimizer.lr:g}"
        f" x sqrt({batch} / {options.optimizer.lr_batch}), {options.optimizer.schedule}"
    )
    if len(left_out):
        context.say(f"  left out of training: {left_out}")
