"""Runs that end badly leave a record of it; runs that may not begin do not begin."""

import os
import signal

import pytest
import torch.distributed as dist

from bench.errors import UserError
from bench.machine import preflight
from bench.machine.world import World
from bench.records.checks import validation_errors
from bench.records.record import Record
from models import test, train
from models.run import measure
from models.train import Training
from models.training.optimizer import Diverged
from models.weights import checkpoint

QUICK = ["--device", "CPU", "--batch-size", "8", "--warmup-steps", "1"]


@pytest.fixture
def places(tmp_path, sample):
    return ["--dataset", str(sample), "--checkpoints", str(tmp_path / "ck"), "--results", str(tmp_path / "runs")]


def only_record(tmp_path) -> Record:
    [path] = (tmp_path / "runs").glob("*.json")
    record = Record.load(path)
    assert validation_errors(record) == []
    return record


class OutOfMemoryError(RuntimeError):
    pass


ENDINGS = {
    "oom": (
        lambda: OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB\nmore"),
        UserError,
        "Tried to allocate",
    ),
    "crash": (lambda: RuntimeError("cuDNN error"), RuntimeError, "RuntimeError: cuDNN error"),
    "diverged": (lambda: Diverged("training diverged: 20 steps"), Diverged, "20 steps"),
    "interrupted": (KeyboardInterrupt, KeyboardInterrupt, "KeyboardInterrupt"),
}


@pytest.mark.parametrize("status", ENDINGS)
def test_a_run_that_fails_leaves_what_it_had(status, places, tmp_path, monkeypatch):
    make, passed_on, said = ENDINGS[status]
    step = Training.train_step

    def failing(self, batch):
        if self.optimizer.step == 3:
            raise make()
        return step(self, batch)

    monkeypatch.setattr(Training, "train_step", failing)
    with pytest.raises(passed_on):
        train.main([*places, *QUICK, "--steps", "6"])
    record = only_record(tmp_path)
    assert record.status == status
    assert said in record.status_reasons[0]
    assert len(record.series[0]["step_s"]) == record.training["steps"] == 3
    # Whoever stops a run does not wait until its data is read again.
    assert (record.dataset["digest_sha256"] is None) == (status == "interrupted")


def test_out_of_memory_is_one_line_with_advice(places, monkeypatch):
    def full(self, batch):
        raise OutOfMemoryError("out of memory")

    monkeypatch.setattr(Training, "train_step", full)
    with pytest.raises(UserError, match=r"with --batch-size 8: --batch-size 4 fits, as a trial has just shown"):
        train.main([*places, *QUICK, "--steps", "2"])
    monkeypatch.setattr(train, "try_batch", lambda *_: full(None, None))
    with pytest.raises(UserError, match=r"not even a batch of 1 fits"):
        train.main([*places, *QUICK, "--steps", "2"])


def test_a_scheduler_that_ends_the_run_leaves_a_record_and_the_old_handler(places, tmp_path, monkeypatch):
    before = signal.getsignal(signal.SIGTERM)
    step = Training.train_step

    def ended(self, batch):
        if self.optimizer.step == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(self, batch)

    monkeypatch.setattr(Training, "train_step", ended)
    with pytest.raises(measure.Interrupted) as ending:
        train.main([*places, *QUICK, "--steps", "6"])
    assert ending.value.code == 143
    assert str(ending.value) == "stopped by SIGTERM after step 2; --resume goes on there"
    assert checkpoint.read(next((tmp_path / "ck").glob("*/last.pt")))["stepper"]["step"] == 2
    assert only_record(tmp_path).status == "interrupted"
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_mistake_of_the_user_leaves_no_record(places, tmp_path):
    with pytest.raises(UserError, match="no checkpoint"):
        test.main([*places, "--device", "CPU", "--checkpoint", "none.pt"])
    assert not (tmp_path / "runs").exists()


def test_strict_refuses_where_a_check_warns_and_otherwise_the_record_has_it(places, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(preflight.os, "getloadavg", lambda: (99.0, 0, 0))
    with pytest.raises(UserError, match=r"--strict.*load 99\.0"):
        train.main([*places, *QUICK, "--steps", "2", "--strict"])
    assert not (tmp_path / "runs").exists()
    train.main([*places, *QUICK, "--steps", "2"])
    assert "warning: load: load 99.0" in capsys.readouterr().out
    assert {"check": "load", "level": "warning"}.items() <= only_record(tmp_path).preflight[2].items()


def test_a_run_has_its_limits_its_samples_and_where_its_time_went(places, tmp_path):
    train.main([*places, *QUICK, "--steps", "6", "--min-seconds", "0", "--min-steps", "1"])
    record = only_record(tmp_path)
    assert record.limits[0]["forward_flops_per_image"] == 1_410_287_616
    assert record.efficiency["mfu_share"] > 0
    assert record.samples[0]["sensor"] == "host"
    assert record.telemetry[0]["memory_max_bytes"] is None or record.telemetry[0]["memory_max_bytes"] > 0
    spans = ("init_s", "first_batch_s", "first_step_s", "warmup_s", "measured_s", "evaluation_s", "checkpoint_s")
    assert all(record.phases_s[name] > 0 for name in spans)
    assert sum(record.phases_s[n] for n in spans if not n.startswith("first")) <= record.phases_s["total_s"]
    assert record.throughput["images_per_s_core"] >= record.throughput["images_per_s"]
    assert record.throughput["images_per_s"] > record.throughput["images_per_s_end_to_end"]


def test_testing_goes_over_the_split_again_until_enough_is_measured(places, tmp_path):
    once = ["--latency-runs", "2", "--min-seconds", "0", "--batch-size", "20", "--warmup-steps", "1"]
    test.main([*places, "--device", "CPU", "--split", "test", *once, "--min-steps", "6"])
    record = only_record(tmp_path)
    assert record.throughput["measured_steps"] == 7  # 40 pictures are two batches: 1 warm-up and 7 of four passes
    assert record.phases_s["latency_s"] > 0


def test_of_several_ranks_one_leaves_the_record_of_a_failure(monkeypatch):
    """The one that ran out of memory, when it did; the leader, when not, or when nobody can be asked any more."""
    leader, other = World(rank=0, size=2), World(rank=1, size=2)
    for statuses, expected in ((("crash", "crash"), [0]), (("crash", "oom"), [1]), (("oom", "oom"), [1])):
        store = dist.HashStore()
        monkeypatch.setattr(dist.distributed_c10d, "_get_default_store", lambda store=store: store)
        told = [rank.rank for rank in (other, leader) if measure.writes_failure(rank, statuses[rank.rank])]
        assert told == expected
    gone = lambda: (_ for _ in ()).throw(RuntimeError("Broken pipe"))  # noqa: E731
    monkeypatch.setattr(dist.distributed_c10d, "_get_default_store", gone)
    assert measure.writes_failure(leader, "crash") and measure.writes_failure(other, "oom")
    assert not measure.writes_failure(other, "crash")
    assert measure.writes_failure(World(), "crash")
