"""One job on two hosts (once on four) that only share a network: the real scripts, torchrun, gloo. See run.sh.

Batch norm sees the images of its own rank, so two hosts with one process each are compared with one host with two.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import psutil
import pytest

from bench.records.checks import validation_errors
from bench.records.record import FAILURES, Record
from tests.hosts import network
from tests.hosts.network import Cable, Running

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not network.possible(), reason="network namespaces need root, ip and unshare"),
]
RUN = "CRNN_FP32_30E_1CPU_Train"
WAIT_S = 240  # for a whole job on a busy machine
# Losing a host is noticed within the first, and waited for no longer than the second.
PATIENCE = {"CRNN_TIMEOUT_S": "12", "CRNN_JOIN_TIMEOUT_S": "60"}
LITTLE_PATIENCE = {"CRNN_TIMEOUT_S": "8", "CRNN_JOIN_TIMEOUT_S": "16"}


@pytest.fixture
def cable(tmp_path):
    with Cable(tmp_path) as cable:
        yield cable


@pytest.fixture
def env(surroundings, tmp_path) -> dict[str, str]:
    return {**surroundings, "RESULTS": str(tmp_path / "runs")}


def options(folder: Path, steps: int, *more: str) -> list[str]:
    return ["--steps", str(steps), "--batch-size", "4", "--warmup-steps", "1", "--results", str(folder), *more]


def records(folder: Path) -> list[Record]:
    """The records that measure something: an attempt that failed leaves one of its failure, too."""
    found = [Record.load(path) for path in sorted(folder.glob("*.json"))]
    return [record for record in found if record.status not in FAILURES]


def finish(hosts: list[Running]) -> None:
    for host in hosts:
        assert host.wait(WAIT_S) == 0, host.said()


def checkpoint_of(tmp_path: Path, hosts: list[Running]) -> Path:
    """Wait until the job has written a checkpoint."""
    deadline = time.monotonic() + WAIT_S
    while time.monotonic() < deadline:
        if found := list((tmp_path / "checkpoints").glob("*/last.pt")):
            return found[0]
        assert all(host.process.poll() is None for host in hosts), [host.said() for host in hosts]
        time.sleep(0.2)
    raise AssertionError([host.said() for host in hosts])


def test_two_hosts_train_what_one_host_trains(cable, env, tmp_path, script):
    finish(cable.run(RUN, *options(tmp_path / "two", 5), **env))
    done = script(RUN, *options(tmp_path / "one", 5), CARDS="2", timeout=WAIT_S)
    assert done.returncode == 0, done.stderr
    [two], [one] = records(tmp_path / "two"), records(tmp_path / "one")  # one record a job
    assert two.training["loss"] == pytest.approx(one.training["loss"], rel=1e-5)
    assert two.accuracy["n"] == one.accuracy["n"] == 40
    assert two.run == one.run == "CRNN_FP32_5S_2CPUs_Train"
    assert (two.cell["hosts"], one.cell["hosts"]) == (2, 1)
    assert [host["host"] for host in two.provenance["hosts"]] == ["node0", "node1"]
    assert list(validation_errors(two)) == []


def test_four_hosts_train_what_one_host_trains(env, tmp_path, script):
    with Cable(tmp_path, hosts=4) as switch:
        finish(switch.run(RUN, *options(tmp_path / "four", 3), **env))
    done = script(RUN, *options(tmp_path / "one", 3), CARDS="4", timeout=WAIT_S)
    assert done.returncode == 0, done.stderr
    [four], [one] = records(tmp_path / "four"), records(tmp_path / "one")
    assert four.training["loss"] == pytest.approx(one.training["loss"], rel=1e-5)
    assert [rank["images"] for rank in four.series] == [[4] * 3] * 4
    assert [host["host"] for host in four.provenance["hosts"]] == ["node0", "node1", "node2", "node3"]
    assert four.accuracy["n"] == one.accuracy["n"] == 40


def test_throughput_counts_the_images_of_all_hosts(cable, env, tmp_path):
    finish(cable.run(RUN, *options(tmp_path / "runs", 4), **env))
    [record] = records(tmp_path / "runs")
    assert [rank["images"] for rank in record.series] == [[4] * 4] * 2
    slowest = max(sum(rank["step_s"][1:]) for rank in record.series)
    assert record.throughput["images_per_s"] == pytest.approx(2 * 3 * 4 / slowest)


def test_a_slow_cable_slows_the_job_and_nothing_else(cable, env, tmp_path):
    """33 MB of gradients a step at 200 Mbit/s are 1.3 s."""
    cable.limit("200mbit")
    finish(cable.run(RUN, *options(tmp_path / "runs", 4), **env))
    [record] = records(tmp_path / "runs")
    assert record.throughput["step_p50_ms"] > 1300


def test_a_lost_process_restarts_the_job_from_its_last_checkpoint(cable, env, tmp_path):
    hosts = cable.run(RUN, *options(tmp_path / "runs", 40, "--save-every", "3"), **env, **PATIENCE)
    checkpoint_of(tmp_path, hosts)
    os.kill(worker_of(hosts[1]), 9)
    finish(hosts)
    [record] = records(tmp_path / "runs")
    assert record.training["restarts"] == 1
    assert record.training["resumed_from_step"] >= 3
    assert record.training["steps"] == 40
    assert "resuming from" in hosts[0].said()


def worker_of(host: Running) -> int:
    """The process id of the training on this host: the last of its line."""
    family = psutil.Process(host.process.pid).children(recursive=True)
    return next(p.pid for p in family if "models.train" in p.cmdline() and "models.launch" not in p.cmdline())


def test_a_cable_that_heals_lets_the_job_go_on(cable, env, tmp_path):
    hosts = cable.run(RUN, *options(tmp_path / "runs", 40, "--save-every", "3"), **env, **PATIENCE)
    checkpoint_of(tmp_path, hosts)
    cable.cut()
    time.sleep(20)  # longer than the ranks wait for each other
    cable.plug()
    finish(hosts)
    [record] = records(tmp_path / "runs")
    assert record.training["restarts"] >= 1
    assert record.training["resumed_from_step"] >= 3


def test_a_cable_cut_for_good_ends_both_hosts_in_time_with_one_line(cable, env, tmp_path):
    hosts = cable.run(RUN, *options(tmp_path / "runs", 400, "--save-every", "3"), **env, **LITTLE_PATIENCE)
    checkpoint_of(tmp_path, hosts)
    cable.cut()
    began = time.monotonic()
    codes = [host.wait(120) for host in hosts]
    assert codes == [1, 1], [host.said() for host in hosts]
    assert time.monotonic() - began < 90
    assert "did not meet again within 16 s of a failure; lost: host 1 (node1); start every host" in hosts[0].said()
    assert "host 0 (10.213.77.1:29500) has not answered for 16 s; start every host again" in hosts[1].said()


def test_a_host_that_is_replaced_joins_the_job_again(cable, env, tmp_path):
    """As Kubernetes replaces a pod: another launcher signs in with the job that is waiting for it."""
    words = options(tmp_path / "runs", 40, "--save-every", "3")
    first, second = cable.run(RUN, *words, **env, **PATIENCE)
    checkpoint_of(tmp_path, [first, second])
    second.end()
    finish([first, *cable.run(RUN, *words, hosts=(1,), **env, **PATIENCE)])
    [record] = records(tmp_path / "runs")
    assert record.training["restarts"] >= 1
    assert record.training["resumed_from_step"] >= 3


def test_a_job_that_was_lost_goes_on_with_resume(cable, env, tmp_path):
    hosts = cable.run(RUN, *options(tmp_path / "runs", 12, "--save-every", "3"), **env, **PATIENCE)
    checkpoint_of(tmp_path, hosts)
    for host in hosts:
        host.end()
    finish(cable.run(RUN, *options(tmp_path / "runs", 12, "--resume"), **env))
    [record] = records(tmp_path / "runs")
    assert record.training["resumed_from_step"] >= 3


def test_a_data_set_missing_on_one_host_is_said_there_and_ends_both(cable, env, tmp_path):
    first = cable.run(RUN, *options(tmp_path / "runs", 4), hosts=(0,), **env, **PATIENCE)
    second = cable.run(
        RUN, *options(tmp_path / "runs", 4), hosts=(1,), **{**env, "PYTORCH_TRAIN_DATASET": "/nowhere"}, **PATIENCE
    )
    codes = [host.wait(120) for host in (*first, *second)]
    assert codes[1] == 2, second[0].said()
    assert second[0].said().count("/nowhere") == 1
    assert codes[0] == 1
    assert "another host has ended the run; its own output says why" in first[0].said()


def test_hosts_with_other_commits_are_refused(cable, env, tmp_path):
    """The commit of a checkout is git's; where git finds none, an image's."""
    image = {"GIT_DIR": "/nowhere", "HARNESS_COMMIT": "0123abc"}
    hosts = [
        *cable.run(RUN, *options(tmp_path / "runs", 2), hosts=(0,), **env, **PATIENCE),
        *cable.run(RUN, *options(tmp_path / "runs", 2), hosts=(1,), **env, **PATIENCE, **image),
    ]
    for host in hosts:
        assert host.wait(90) == 2
        [line] = host.said().strip().splitlines()
        assert "commit is" in line
        assert "0123abc on host 1 (node1) (CRNN_MIXED_HOSTS=1 allows it)" in line
