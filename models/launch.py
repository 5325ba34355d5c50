"""From a run name to running processes: `python -m models.launch CRNN_FP32_30E_4MLUs_Train [options of the program]`.

One card runs in this process; several run under torchrun, one process a card. Cards are counted per host.
"""

from __future__ import annotations

import logging
import os
import runpy
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from bench import device
from bench.refusal import Refusal, answer
from bench.run_name import DEVICES, PRECISIONS, RunName

PROGRAMS = {"Train": "models.train", "Infer": "models.test"}
CHOICES = {"DEVICE": DEVICES, "PRECISION": PRECISIONS}
NUMBERS = ("CARDS", "EPOCHS", "STEPS")
SAMPLE_WORDS = 12_000


def overridden(run: RunName, environment: Mapping[str, str]) -> RunName:
    """The run with coordinates from the environment in place of its own. Raises Refusal for a value that is none."""
    changes: dict = {}
    for name, choices in CHOICES.items():
        if value := environment.get(name):
            if value.upper() not in choices:
                raise Refusal(f"{name}={value} is not one of {' '.join(choices)}")
            changes[name.lower()] = value.upper()
    for name in NUMBERS:
        if value := environment.get(name):
            if not value.isdecimal() or int(value) < 1:
                raise Refusal(f"{name}={value} is not a number of 1 or more")
            changes[name.lower()] = int(value)
    return replace(run, **changes)


def checked(run: RunName, script: str) -> RunName:
    """The run on a device that is here; Refusal with the command that would run when its cards are not."""
    if run.device is None:
        return replace(run, device=device.best())
    here = f"DEVICE={device.best()} CARDS={device.present(device.best())} bash run_scripts/{script}.sh"
    device.require(run.device, run.cards, hint=f"The same recipe runs here as: {here}")
    return run


def arguments(run: RunName, script: str, rest: list[str]) -> list[str]:
    """The program's command line. An option given by hand wins over the name's coordinate."""
    words = ["--recipe", run.recipe, "--run", script, "--device", run.device, "--precision", run.precision]
    lengths = {"--steps": run.steps} if run.steps else {"--epochs": run.epochs}
    given = {word.partition("=")[0] for word in rest}
    if run.task == "Train" and not given & {"--steps", "--epochs"}:
        words += [str(word) for pair in lengths.items() if pair[1] for word in pair]
    return [*words, *rest]


def ensure_dataset(rest: list[str]) -> None:
    """With no data set named, render a small sample once and use it."""
    named = os.environ.get("PYTORCH_TRAIN_DATASET") or any(word.partition("=")[0] == "--dataset" for word in rest)
    if named or {"-h", "--help"} & set(rest):
        return
    sample = Path(os.environ.get("CRNN_SAMPLE") or "data/sample")
    if not (sample / "Synth90k").is_dir():
        print(
            f"PYTORCH_TRAIN_DATASET is not set: rendering a sample of {SAMPLE_WORDS:,} words in {sample}",
            flush=True,
        )
        command = [
            "-m",
            "models.render",
            "--out",
            str(sample),
            "--count",
            str(SAMPLE_WORDS),
            "--style",
            "plain",
        ]
        subprocess.run([sys.executable, *command], check=True)
    os.environ["PYTORCH_TRAIN_DATASET"] = str(sample)


def run_alone(program: str, words: list[str]) -> None:
    sys.argv = [program, *words]
    runpy.run_module(program, run_name="__main__", alter_sys=True)


def run_together(program: str, cards: int, words: list[str], environment: Mapping[str, str]) -> None:
    """Start `cards` processes on this host under torchrun, and join other hosts where NNODES asks for them."""
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import main as torchrun

    hosts = int(environment.get("NNODES") or 1)
    where = (
        ["--standalone"]
        if hosts == 1
        else [
            f"--nnodes={hosts}",
            f"--node-rank={environment.get('NODE_RANK') or 0}",
            f"--master-addr={environment.get('MASTER_ADDR') or 'localhost'}",
            f"--master-port={environment.get('MASTER_PORT') or 29500}",
        ]
    )
    # torchrun would set one thread a process; the cores are shared out instead.
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, len(os.sched_getaffinity(0)) // cards)))
    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)  # the line below says it better
    try:
        # Without the "--" torchrun would take --run for an abbreviation of its own --run-path.
        torchrun([*where, f"--nproc-per-node={cards}", "-m", "--", program, *words])
    except ChildFailedError as failure:
        rank, first = failure.get_first_failure()
        if first.exitcode != 2:  # a refusal has said its line already
            print(f"rank {rank} ended with exit code {first.exitcode}; the run is over", file=sys.stderr)
        sys.exit(first.exitcode if first.exitcode > 0 else 1)


def main() -> None:
    if len(sys.argv) < 2:
        raise Refusal("want a run name, such as CRNN_FP32_30E_1CPU_Train; the scripts of run_scripts/ pass theirs")
    script, *rest = sys.argv[1:]
    run = checked(overridden(RunName.parse(script), os.environ), script)
    ensure_dataset(rest)
    words, program = arguments(run, script, rest), PROGRAMS[run.task]
    if run.cards == 1 and int(os.environ.get("NNODES") or 1) == 1:
        run_alone(program, words)
    else:
        run_together(program, run.cards, words, os.environ)


if __name__ == "__main__":
    answer(main, "models.launch")
