from pathlib import Path

import pytest

from bench.errors import UserError
from bench.machine import preflight
from bench.machine.preflight import Surroundings, check_machine, list_warnings, require_clean

GOOD = {
    "card": "card 0",
    "facts": {"ecc": True, "link_width": 16, "link_width_maximum": 16},
    "users": [11],
    "sample": {"throttled": False, "ecc_errors": 0, "utilisation_percent": 0, "memory_bytes": 0},
    "own": {11, 12},
    "governors": {"performance"},
    "threads": 4,
    "cores": 8,
    "load": 0.2,
    "dataset": Path("/data/Synth90k"),
    "mounts": [("/", "ext4"), ("/data", "xfs")],
}


def found(**changes):
    return {one["check"]: one for one in check_machine(Surroundings(**GOOD | changes))}


def test_a_quiet_machine_gives_no_warning():
    assert {one["level"] for one in found().values()} == {"ok"}
    require_clean(found().values())


@pytest.mark.parametrize(
    ("check", "changes", "said"),
    [
        ("others", {"users": [11, 99]}, r"processes \[99\] use card 0"),
        ("others", {"users": None, "sample": {"utilisation_percent": 40}}, "40 % busy"),
        ("others", {"users": None, "sample": {"memory_bytes": 5 << 30}}, "5120 MiB taken"),
        ("governor", {"governors": {"powersave", "performance"}}, "clock governor powersave"),
        ("throttling", {"sample": {"throttled": True}}, "slowed for heat"),
        ("threads", {"threads": 9}, "9 threads and loader processes on 8 cores"),
        ("load", {"load": 6.0}, "load 6.0 on 8 cores"),
        ("network_files", {"mounts": [("/", "ext4"), ("/data", "nfs4")]}, "nfs4, a network file system"),
        ("memory_errors", {"sample": {"ecc_errors": 3}}, "3 uncorrected memory errors"),
        ("link", {"facts": {"link_width": 8, "link_width_maximum": 16}}, "PCIe x8 of x16"),
    ],
)
def test_what_spoils_numbers_is_a_warning_and_under_strict_an_end(check, changes, said):
    rows = found(**changes)
    assert rows[check]["level"] == "warning"
    with pytest.raises(UserError, match=f"{check}: .*{said}"):
        require_clean(rows.values())


IN_A_CONTAINER = {"own": {1, 7}, "exists": lambda number: number < 100}  # the driver counts as the host does


def test_in_a_container_the_runs_own_process_is_no_stranger():
    assert found(users=[41_873], **IN_A_CONTAINER)["others"]["level"] == "ok"
    two = found(users=[41_873, 52_001], **IN_A_CONTAINER)["others"]
    assert two["level"] == "warning" and "this run and 1 more" in two["said"]
    assert found(users=[7], **IN_A_CONTAINER)["others"]["said"] == "nobody else is on it"
    assert found(users=[7, 41_873], **IN_A_CONTAINER)["others"]["level"] == "warning"
    assert found(users=[55], **IN_A_CONTAINER)["others"]["level"] == "warning"  # it is seen here, and another's


@pytest.mark.parametrize("check", sorted(preflight.HOST.keys() | preflight.CARD.keys()))
def test_a_machine_that_tells_nothing_is_unknown_not_ok(check):
    silent = {one["check"]: one for one in check_machine(Surroundings("card 0"))}
    assert silent[check]["level"] == ("ok" if check == "threads" else "unknown")  # threads are always known


def test_the_nearest_mount_decides():
    mounts = [("/", "nfs4"), ("/data", "xfs"), ("/data/Synth90k-old", "nfs4")]
    assert found(mounts=mounts)["network_files"]["level"] == "ok"


def test_a_rank_that_does_not_speak_for_its_host_speaks_of_its_card():
    assert {one["check"] for one in check_machine(Surroundings("card 1"), host=False)} == preflight.CARD.keys()


def test_the_same_warning_of_many_ranks_is_said_once():
    rows = [*found(load=9.0).values()] * 4
    assert list_warnings(rows) == ["load: load 9.0 on 8 cores before the run"]


def test_a_containers_quota_is_what_cores_there_are(tmp_path):
    group = tmp_path / "fs/cgroup"
    group.mkdir(parents=True)
    (group / "cpu.max").write_text("100000 100000\n")
    assert preflight.cores(tmp_path) == 1
    (group / "cpu.max").write_text("max 100000\n")
    assert preflight.cores(tmp_path) == preflight.cores(tmp_path / "nowhere") >= 1


def test_this_machine_can_be_looked_at():
    at = preflight.look_around("the host", None, threads=1, dataset=Path.cwd(), shared=True)
    assert len(check_machine(at)) == len(preflight.HOST) + len(preflight.CARD)
    assert at.mounts
    assert at.own
