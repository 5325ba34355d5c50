"""What training does on a GPU and nowhere else, on the strict stand-in: see tests/fake_mlu/gpu_branch.py."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys

import pytest

from bench.records.record import Record
from tests.support import ROOT
from tests.support.ranks import free_port

pytest.importorskip("torch", minversion="2.10")  # what the stand-in needs
# Relative. A captured update reads its rate from a tensor of float32, a plain one from a double; rounding to 11 and 8
# bits makes more of that in each step.
ALIKE = {"FP32": 1e-4, "AMP": 2e-3, "BF16": 1e-2}


@pytest.mark.parametrize("precision", [*ALIKE])
def test_a_captured_step_learns_what_a_plain_one_does_and_nothing_crosses(precision, script, sample, tmp_path):
    done = subprocess.run(
        [sys.executable, "tests/fake_mlu/gpu_branch.py", tmp_path, sample, precision],
        cwd=ROOT, capture_output=True, text=True, timeout=280,
        env={**os.environ, "PYTHONPATH": f"{ROOT / 'tests/fake_mlu'}:{ROOT}", "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout.splitlines()[-1])
    plain, graph = found["plain"], found["--graph"]
    assert len(plain["loss"]) == 8 and all(map(math.isfinite, plain["loss"]))
    assert graph["loss"] == pytest.approx(plain["loss"], rel=ALIKE[precision])
    if precision == "FP32":  # three plain steps, the captured one and two replays
        assert graph["loss"][:6] == pytest.approx(plain["loss"][:6], rel=1e-5)
    # float16's loss scale begins too high, and steps are skipped on the card until it fits: as many in both.
    assert graph["skipped"] == plain["skipped"] and (plain["skipped"] > 0) == (precision == "AMP")
    assert plain["events"] == graph["events"] == 8
    recurrent = {"FP32": "float32", "AMP": "float16", "BF16": "bfloat16"}
    assert plain["switches"]["recurrent_dtype"] == recurrent[precision]
    if precision == "FP32":  # and what a CPU learns, whose CTC is torch's own
        words = [
            "--batch-size",
            "2",
            "--steps",
            "8",
            "--workers",
            "0",
            "--warmup-steps",
            "1",
            "--without",
            "validation",
        ]
        script("CRNN_FP32_30E_1CPU_Train", *words, "--results", str(tmp_path / "cpu"))
        [cpu] = map(Record.load, (tmp_path / "cpu").glob("*.json"))
        assert plain["loss"][0] == pytest.approx(cpu.training["loss"][0], rel=1e-6)
        assert plain["loss"] == pytest.approx(cpu.training["loss"], rel=1e-3)


def on_two_cards(folder, sample, *options: str) -> dict:
    """What the leader of two ranks found, their gradients exchanged by cncl, which is gloo here."""
    port, processes = free_port(), []
    for rank in ("0", "1"):
        place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
        place |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "FAKE_MLU_COUNT": "2"}
        command = [sys.executable, "tests/fake_mlu/gpu_branch.py", folder, sample, "FP32", *options]
        paths = {"PYTHONPATH": f"{ROOT / 'tests/fake_mlu'}:{ROOT}", "OMP_NUM_THREADS": "1"}
        processes.append(
            subprocess.Popen(
                command, cwd=ROOT, env={**os.environ, **place, **paths}, text=True,
                stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            )
        )  # fmt: skip
    try:
        said = [process.communicate(timeout=280) for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert not any(process.returncode for process in processes), "".join(errors[-2000:] for _, errors in said)
    return json.loads(said[0][0].splitlines()[-1])


def test_two_cards_with_graphs_learn_what_two_plain_ones_do(sample, tmp_path):
    plain = on_two_cards(tmp_path / "plain", sample, "--log-every", "50")
    graph = on_two_cards(tmp_path / "graph", sample, "--graph")
    assert len(plain["loss"]) == 8 and all(map(math.isfinite, plain["loss"]))
    assert graph["loss"][:6] == pytest.approx(plain["loss"][:6], rel=1e-5)
    assert graph["loss"] == pytest.approx(plain["loss"], rel=ALIKE["FP32"])
    assert graph["skipped"] == plain["skipped"] == 0
