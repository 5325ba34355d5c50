"""Every run leaves its options beside its record, as a file that `--config` reads: the same run again, anywhere."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import yaml

from bench.files import ROOT, warn, write_file
from bench.records.record import Record
from bench.records.run_name import RunName
from models.run.context import Context
from models.run.options import Common, Infer, dataset_root

NOT_KEPT = ("run", "resume", "overwrite", "results")  # of this run alone, or of this machine
PROGRAMS = {"Train": "models.train", "Infer": "models.test"}


def save_record(
    record: Record, context: Context, name: RunName, weights: Path | None = None, program: str | None = None
) -> Path:
    """Write the record and, beside it, a .yaml with the options it was made with. Raises UserError as `Record.save`.

    weights: of a test, which then names them: the newest checkpoint may be another one later.
    program: that was run, where the name does not say it.
    """
    path = record.save(context.options.results)
    options = context.options
    if isinstance(options, Infer):
        options = replace(options, checkpoint=weights)
    write_options(options, path.with_suffix(".yaml"), name, context.device.kind.name, program)
    context.say(measured(record))
    context.say(
        f"record: {path}\nagain: --config {path.with_suffix('.yaml')}\ntable: python -m bench.report {path.parent}"
    )
    return path


def measured(record: Record) -> str:
    """One line: images/s of all ranks, and the status with its reasons."""
    rate = record.throughput.get("images_per_s")
    reasons = f" ({'; '.join(record.status_reasons)})" if record.status_reasons else ""
    return f"{'no throughput' if rate is None else f'{rate:,.1f} images/s'}, {record.status}{reasons}"


def write_options(options: Common, path: Path, name: RunName, device: str, program: str | None = None) -> None:
    """A failure (a full disk) is said and ends no run."""
    content = {**asdict(options), "device": device, "dataset": resolved_dataset(options)}
    kept = {key: plain_tree(value) for key, value in content.items() if key not in NOT_KEPT}
    if isinstance(options, Infer) and options.checkpoint and "shape" not in options.allow:
        kept = {key: value for key, value in kept.items() if key not in ("data", "model")}  # the weights say it
    if name.cards == 1:
        command = f"python -m {program or PROGRAMS[name.task]} --config {shlex.quote(str(path))}"
    else:
        command = f"bash run_scripts/run.sh {name} --config {shlex.quote(str(path))}"
    head = f"# {name}; again, from {Path.cwd()}:\n#   {command}\n"
    try:
        write_file(path, head + yaml.safe_dump(without_empty(kept), sort_keys=False, allow_unicode=True))
    except OSError as error:
        warn(f"{path}: the run's options could not be written: {error.strerror}")


def resolved_dataset(options: Common) -> str | None:
    """Where the data was, $PYTORCH_TRAIN_DATASET included."""
    if options.input == "synthetic" or getattr(options, "sets", None):
        return options.dataset
    return dataset_root(options)


def plain_tree(value: Any) -> Any:
    """Types that YAML has; a path of this checkout from its root, as one types it."""
    if isinstance(value, Mapping):
        return {key: plain_tree(one) for key, one in value.items()}
    if isinstance(value, Path):
        return str(value.relative_to(ROOT) if value.is_relative_to(ROOT) and Path.cwd() == ROOT else value)
    return [plain_tree(one) for one in value] if isinstance(value, list | tuple) else value


def without_empty(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Without what is not set: --config then leaves it at its default."""
    nested = {key: without_empty(one) if isinstance(one, Mapping) else one for key, one in tree.items()}
    return {key: one for key, one in nested.items() if one not in (None, [], {}, "")}
