"""From a run name to running processes: `python -m models.launch CRNN_FP32_30E_4MLUs_Train [options of the program]`.

One card runs in this process; several, or several hosts, run under torchrun, one process a card:
bench/machine/launcher.py. Cards are counted per host.
"""

from __future__ import annotations

if not __package__:  # `python models/launch.py`, from any folder: its own is on the path, and not the checkout
    __import__("sys").path.insert(0, __file__.rsplit("/", 2)[0])

import os
import runpy
import shlex
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

from bench.errors import UserError, run_cli
from bench.machine import discovery
from bench.machine.hosts import Place
from bench.options import Command, Positional
from bench.records.run_name import DEVICES, PRECISIONS, RunName
from models.run.batches import measured_batch

PROGRAMS = {"Train": "models.train", "Infer": "models.test"}
CHOICES = {"DEVICE": DEVICES, "PRECISION": PRECISIONS}
NUMBERS = ("CARDS", "EPOCHS", "STEPS")
SAMPLE_WORDS = 12_000


@dataclass
class LaunchOptions:
    """Start the program that a run name names, on the cards that it names.

    Options after the name go to the program; --help after a name lists them. One card runs in this process; several,
    or several hosts, run under torchrun, one process a card. Cards are counted per host.
    """

    run: Annotated[str, Positional("RUN_NAME")]
    """Such as CRNN_FP32_30E_1CPU_Train; the scripts of run_scripts/ pass theirs"""


COMMAND = Command("models.launch", LaunchOptions, "CRNN_FP32_20S_1CPU_Train --batch-size 16", rest="after")


def apply_overrides(run: RunName, environment: Mapping[str, str]) -> RunName:
    """The run with coordinates from the environment in place of its own. Raises UserError for a value that is none."""
    changes: dict[str, Any] = {}
    for name, choices in CHOICES.items():
        if value := environment.get(name):
            if value.upper() not in choices:
                raise UserError(f"{name}={value} is not one of {' '.join(choices)}")
            changes[name.lower()] = value.upper()
    for name in NUMBERS:
        if value := environment.get(name):
            if not value.isdecimal() or int(value) < 1:
                raise UserError(f"{name}={value} is not a number of 1 or more")
            changes[name.lower()] = int(value)
    return replace(run, **changes)


def choose_device(run: RunName, script: str, rest: Sequence[str] = ()) -> RunName:
    """The run on a device that is here; UserError with the command that would run when its cards are not."""
    if run.device is None:
        for sentence in discovery.missing_devices():
            print(f"note: {sentence}", file=sys.stderr, flush=True)
        return replace(run, device=discovery.best())
    options = f" {shlex.join(rest)}" if rest else ""
    here = (
        f"DEVICE={discovery.best()} CARDS={discovery.present(discovery.best())} bash run_scripts/{script}.sh{options}"
    )
    discovery.require(run.device, run.cards, hint=f"The same recipe runs here as: {here}")
    return run


def arguments(run: RunName, script: str, rest: list[str]) -> list[str]:
    """The program's command line. An option given by hand wins over the name's coordinate."""
    words = ["--recipe", run.recipe, "--run", script, "--device", str(run.device), "--precision", run.precision]
    lengths = {"--steps": run.steps} if run.steps else {"--epochs": run.epochs}
    given = {word.partition("=")[0] for word in rest}
    if run.task == "Train" and not given & {"--steps", "--epochs"}:
        words += [str(word) for pair in lengths.items() if pair[1] for word in pair]
    return [*words, *rest]


def batch_words(run: RunName, rest: list[str]) -> list[str]:
    """--batch-size as measured for this card where nobody says another; else none, and a line that says so."""
    given = {word.partition("=")[0] for word in rest}
    if (
        run.task != "Train"
        or run.device == "CPU"
        or given & {"--batch-size", "--batch_size", "--config", "-h", "--help"}
    ):
        return []
    card = discovery.card_name(str(run.device))
    if found := measured_batch(run.recipe, run.precision, card):
        print(f"batch {found[0]}, as measured for {card} ({found[1]}); --batch-size names another", flush=True)
        return ["--batch-size", str(found[0])]
    words = f"{replace(run, cards=1, epochs=None, steps=200)} --auto-batch 8192 --gain 0.05"
    print(f"note: no batch is measured for {run.recipe} at {run.precision} on {card}: it trains at the recipe's own, "
          f"which may leave a card waiting; `python -m bench.sweep {words}` finds one",
          file=sys.stderr, flush=True)  # fmt: skip
    return []


def ensure_dataset(rest: list[str], place: Place) -> None:
    """With no data set named, render a small sample once and use it."""
    given = {word.partition("=")[0] for word in rest}
    named = os.environ.get("PYTORCH_TRAIN_DATASET") or given & {"--dataset", "--sets"}
    if named or {"-h", "--help"} & set(rest):
        return
    sample = Path(os.environ.get("CRNN_SAMPLE") or "data/sample")
    if not (sample / "Synth90k").is_dir():
        if place.hosts > 1:
            raise UserError(
                "PYTORCH_TRAIN_DATASET is not set: several hosts need the same images; render a sample where all"
                " see it (`python -m models.render --out DIR`) and set it to DIR"
            )
        print(
            f"PYTORCH_TRAIN_DATASET is not set: rendering a sample of {SAMPLE_WORDS:,} words in {sample}",
            flush=True,
        )
        command = ["-m", "models.render", "--out", str(sample), "--count", str(SAMPLE_WORDS), "--style", "plain"]
        code = subprocess.run([sys.executable, *command]).returncode
        if code:  # it has said why
            sys.exit(code if code > 0 else 128 - code)  # a signal, as a shell counts it
    os.environ["PYTORCH_TRAIN_DATASET"] = str(sample)


def run_alone(program: str, words: list[str]) -> None:
    sys.argv = [program, *words]
    runpy.run_module(program, run_name="__main__", alter_sys=True)


# What a launcher above this one may have set for processes of its own: Kubeflow's RANK counts pods, not ranks.
OF_ANOTHER_LAUNCHER = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "CRNN_LAUNCHER")


def stop(number: int, _: FrameType | None) -> None:
    """End in order on SIGTERM; as process 1 of a container Python would not even hear it."""
    sys.exit(128 + number)


def main() -> None:
    options, rest = COMMAND.parse_known()
    script = options.run
    signal.signal(signal.SIGTERM, stop)
    for name in OF_ANOTHER_LAUNCHER:
        os.environ.pop(name, None)
    run = choose_device(apply_overrides(RunName.parse(script), os.environ), script, rest)
    place = Place.here()
    ensure_dataset(rest, place)
    words, program = arguments(run, script, [*batch_words(run, rest), *rest]), PROGRAMS[run.task]
    if run.cards == 1 and place.hosts == 1:
        run_alone(program, words)
    else:
        from bench.machine import launcher  # torchrun takes a while to import

        launcher.launch(program, run.cards, words, place)


if __name__ == "__main__":
    run_cli(main, "models.launch")
