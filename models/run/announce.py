"""What a training run prints when it begins."""

from __future__ import annotations

from bench.records.run_name import RunName
from models.data.label_filter import LabelIssues
from models.dataset import WordDataset
from models.network.network import Network, count_parameters
from models.run.context import Context
from models.run.options import Train, images_per_step


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
    batch = images_per_step(options, context.world.size)
    several = f" x {options.accumulate}" if options.accumulate > 1 else ""
    context.say(
        f"{name}: {context.world.size} x {context.device.card_name()}, {count_parameters(network):,} parameters\n"
        f"  {len(dataset):,} images of {dataset.name}{sample}, batch {options.batch_size}{several} per card, "
        f"{batch} in all, {total_steps:,} steps\n"
        f"  {options.optimizer.name}, learning rate {lr:.3g} = {options.optimizer.lr:g}"
        f" x sqrt({batch} / {options.optimizer.lr_batch}), {options.optimizer.schedule}"
    )
    if options.freeze:
        context.say(
            f"  frozen: the {options.freeze}; {count_parameters(network, trained=True):,} parameters are trained"
        )
    if options.ema is not None:
        context.say(f"  validated and kept as best.pt: the moving average of the weights, decay {options.ema:g}")
    if len(left_out):
        wider = "; --data.charset 94 has capitals and ASCII's marks" * (options.data.charset in ("36", "62"))
        context.say(f"  left out of training: {left_out}{wider * bool(left_out.found['out_of_charset'])}")
