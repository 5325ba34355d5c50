"""Training as on a GPU, on the stand-in: with the rows of the table that make a GPU's step another one than an MLU's.

    PYTHONPATH=tests/fake_mlu:. python tests/fake_mlu/gpu_branch.py FOLDER DATASET PRECISION [OPTION ...]

Own CTC, texts one a row, a fused Adam that skips by itself, and for --graph a capturable one whose step is captured:
here by a function that does the work again on the same addresses, as a replay does. The stand-in refuses operators that
mix devices, so that what would cross the bus on a card is an error. Prints the losses, plain and with --graph, as JSON;
with options those of one run with them, on as many cards as torchrun's variables say, of its leader.
"""

import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import torch

from bench.machine import ceilings, discovery
from bench.machine.world import World
from bench.records.record import Record
from models import train
from models.training import cuda_graph

STEPS = 8


def capture(work):
    """What torch.cuda.graph makes of it: nothing is done but by replays."""
    result = torch.zeros((), device="mlu")
    return (lambda: result.copy_(work())), result


def losses(folder: Path, dataset: str, precision: str, *how: str) -> dict:
    words = ["--device", "MLU", "--dataset", dataset, "--precision", precision, "--batch-size", "2",
             "--steps", str(STEPS), "--warmup-steps", "1", "--workers", "0", "--without", "validation",
             "--results", str(folder), "--checkpoints", str(folder / "c")]  # fmt: skip
    before = set(folder.glob("*.json"))
    train.main([*words, *how])
    if World.here().rank:
        return {}
    [path] = set(folder.glob("*.json")) - before
    record = Record.load(path)
    return {"loss": record.training["loss"], "skipped": record.training["skipped_steps"],
            "switches": record.precision_evidence, "events": len(record.series[0]["device_step_s"])}  # fmt: skip


def main(folder: Path, dataset: str, precision: str, *options: str) -> None:
    gpu = discovery.DEVICES["GPU"]
    names = ("fused_adam", "own_ctc", "graphs", "in_flight", "tries_convolutions", "bf16_recurrent")
    discovery.DEVICES["MLU"] = replace(discovery.DEVICES["MLU"], **{name: getattr(gpu, name) for name in names})
    ceilings.SLICE_S, ceilings.LONG_S, ceilings.COPY_BYTES_CARD = 1e-4, 1e-4, 1 << 16
    cuda_graph.capture_graph = capture
    if options:
        found = losses(folder, dataset, precision, *options)
    else:
        found = {how or "plain": losses(folder, dataset, precision, *([how] if how else [])) for how in ("", "--graph")}
    print(json.dumps(found))


if __name__ == "__main__":
    os.environ.setdefault("FAKE_MLU_NAME", "MLU590-M9")  # which has bfloat16
    main(Path(sys.argv[1]), *sys.argv[2:])
