"""docker/slurm/crnn.sbatch on a real Slurm of two hosts that are both this machine (Debian: slurmctld slurmd munge)."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from bench.records.record import Record
from tests.support import ROOT

DAEMONS = ("slurmctld", "slurmd", "munged", "sbatch", "runuser")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(400),
    pytest.mark.skipif(os.geteuid() != 0 or not all(map(shutil.which, DAEMONS)), reason=f"needs root, {DAEMONS}"),
]
SETTINGS = """
ClusterName=crnn
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmctldPort=26817
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
MpiDefault=none
ReturnToService=2
NodeName=node0 NodeHostname={host} NodeAddr=127.0.0.1 Port=26820 State=UNKNOWN
NodeName=node1 NodeHostname={host} NodeAddr=127.0.0.1 Port=26821 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES State=UP
"""


def idle(environment: dict) -> bool:
    said = subprocess.run(["sinfo", "-h", "-o", "%D %t"], env=environment, capture_output=True, text=True).stdout
    return "2 idle" in said


@pytest.fixture
def slurm(tmp_path) -> dict[str, str]:
    """The environment in which Slurm's commands find a cluster of two idle hosts."""
    (tmp_path / "state").mkdir()
    settings = tmp_path / "slurm.conf"
    settings.write_text(SETTINGS.format(host=socket.gethostname(), folder=tmp_path))
    environment = {**os.environ, "SLURM_CONF": str(settings)}
    Path("/run/munge").mkdir(exist_ok=True)
    shutil.chown("/run/munge", "munge", "munge")
    commands = [["runuser", "-u", "munge", "--", "munged", "-F"], ["slurmctld", "-D"]]
    commands += [["slurmd", "-D", "-N", f"node{i}"] for i in (0, 1)]
    daemons = []
    for command in commands:
        log = (tmp_path / f"{len(daemons)}.log").open("w")
        daemons.append(
            subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True)
        )
        time.sleep(1)
    deadline = time.monotonic() + 60
    while not idle(environment) and time.monotonic() < deadline:
        time.sleep(0.5)
    yield environment
    for daemon in reversed(daemons):
        os.killpg(daemon.pid, signal.SIGTERM)
        daemon.wait(20)


def submit(slurm: dict, tmp_path: Path, *words: str, **environment: str) -> tuple[int, str]:
    """The exit code of `sbatch --wait crnn.sbatch words...` and what the job said."""
    log = tmp_path / "job.log"
    command = ["sbatch", "--wait", f"--output={log}", "docker/slurm/crnn.sbatch", *words]
    done = subprocess.run(command, cwd=ROOT, env={**slurm, **environment}, capture_output=True, text=True)
    return done.returncode, done.stderr + (log.read_text() if log.exists() else "")


def test_a_job_of_two_hosts_leaves_one_record(slurm, surroundings, tmp_path):
    """The allocation says the place of each host; only its name for host 0 means nothing on this machine."""
    words = ("CRNN_FP32_30E_1CPU_Train", "--steps", "3", "--batch-size", "4", "--warmup-steps", "1")
    here = {**surroundings, "MASTER_ADDR": "127.0.0.1"}
    code, said = submit(slurm, tmp_path, *words, "--results", str(tmp_path / "runs"), **here)
    assert code == 0, said
    [path] = (tmp_path / "runs").glob("*.json")
    record = Record.load(path)
    assert record.cell["hosts"] == 2
    assert record.run == "CRNN_FP32_3S_2CPUs_Train"

    code, said = submit(slurm, tmp_path, "CRNN_FP32_30E_1CPU_Train", "--stepps", "3", **here)
    assert code == 2
    assert "did you mean --steps?" in said


def test_a_run_that_is_none_is_refused(slurm, tmp_path):
    code, said = submit(slurm, tmp_path, "CRNN_Nothing")
    assert code == 2
    assert "crnn.sbatch: error: no run_scripts/CRNN_Nothing.sh" in said
