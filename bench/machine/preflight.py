"""Looks at the machine before a run: what may spoil its numbers is a warning in the record, or an end with --strict.

A check is a function from `Surroundings` to (level, what was found) in a table. What a machine does not tell is
"unknown", never "ok".
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from bench.errors import UserError
from bench.machine.telemetry import Sensor
from bench.records.sections import PreflightCheck

OK, WARNING, UNKNOWN = "ok", "warning", "unknown"
NETWORK = {
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "lustre",
    "ceph",
    "fuse.sshfs",
    "fuse.s3fs",
    "glusterfs",
    "9p",
    "gpfs",
    "beegfs",
}
BUSY_PERCENT = 5  # use of an idle card
BUSY_BYTES = 1 << 30  # memory of an idle card: a driver alone takes some hundred MiB
Verdict = tuple[str, str]


@dataclass
class Surroundings:
    """What the checks look at. `here` fills it in; tests do it by hand."""

    card: str  # as messages call it
    facts: dict[str, Any] = field(default_factory=dict)  # of the card's sensor
    users: list[int] | None = None  # process numbers on the card, None where it does not tell
    sample: Mapping[str, float | None] = field(default_factory=dict)  # of the card's sensor, before the run uses it
    own: set[int] = field(default_factory=set)  # process numbers of this run
    exists: Callable[[int], bool] = psutil.pid_exists  # whether a process of that number is seen from here
    shared: bool = False  # a host: others always use it
    governors: set[str] = field(default_factory=set)
    threads: int = 1  # of all ranks and loader processes on this host
    cores: int = 1  # that they may use
    load: float | None = None  # runnable processes, one-minute mean
    dataset: Path | None = None
    mounts: list[tuple[str, str]] = field(default_factory=list)  # (where, file system)


def check_others(at: Surroundings) -> Verdict:
    """Other processes on the card."""
    if at.shared:
        return UNKNOWN, "a host is shared; see load"
    if at.users is not None:
        return check_users(at, at.users)
    use, memory = at.sample.get("utilisation_percent"), at.sample.get("memory_bytes")
    if use is None and memory is None:
        return UNKNOWN, f"{at.card} does not tell who uses it"
    busy = (use or 0) > BUSY_PERCENT or (memory or 0) > BUSY_BYTES
    said = f"{use or 0:.0f} % busy with {(memory or 0) / 2**20:.0f} MiB taken before the run"
    return (WARNING if busy else OK), said


def check_users(at: Surroundings, users: list[int]) -> Verdict:
    """Of a card that this run has taken: it is one of `users` itself.

    In a container the driver counts processes as the host does; this run's own then has a number that is none here.
    """
    strangers = sorted(set(users) - at.own)
    elsewhere = [number for number in strangers if not at.exists(number)]
    if len(strangers) == len(users) and len(elsewhere) == len(strangers) == 1:
        return OK, f"one process, {elsewhere[0]} by the host's count: this run"
    if len(strangers) == len(users) and elsewhere:
        others = len(strangers) - 1
        return WARNING, f"processes {strangers} use {at.card}: this run and {others} more"
    return (WARNING, f"processes {strangers} use {at.card}") if strangers else (OK, "nobody else is on it")


def check_governor(at: Surroundings) -> Verdict:
    if not at.governors:
        return UNKNOWN, "this kernel names no clock governor"
    slow = at.governors - {"performance"}
    return (WARNING, f"clock governor {', '.join(sorted(slow))}, not performance") if slow else (OK, "performance")


def check_throttling(at: Surroundings) -> Verdict:
    slowed = at.sample.get("throttled")
    if slowed is None:
        return UNKNOWN, f"{at.card} does not tell"
    return (WARNING, f"{at.card} is slowed for heat or power already") if slowed else (OK, "no reason to slow down")


def check_threads(at: Surroundings) -> Verdict:
    said = f"{at.threads} threads and loader processes on {at.cores} cores"
    return (WARNING if at.threads > at.cores else OK), said


def check_load(at: Surroundings) -> Verdict:
    """Others on the host. A run that has not begun adds next to nothing to a one-minute mean."""
    if at.load is None:
        return UNKNOWN, "this system has no load average"
    busy = at.load > max(1.0, at.cores / 4)
    return (WARNING if busy else OK), f"load {at.load:.1f} on {at.cores} cores before the run"


def check_network_files(at: Surroundings) -> Verdict:
    if at.dataset is None or not at.mounts:
        return UNKNOWN, "no path of a data set to look at"
    place = at.dataset.resolve()
    holding = [(where, kind) for where, kind in at.mounts if place.is_relative_to(where)]
    kind = max(holding, key=lambda mount: len(mount[0]), default=("", "unknown"))[1]
    return (WARNING, f"the data set lies on {kind}, a network file system") if kind in NETWORK else (OK, kind)


def check_memory_errors(at: Surroundings) -> Verdict:
    errors, mode = at.sample.get("ecc_errors"), at.facts.get("ecc")
    if errors:
        return WARNING, f"{errors:.0f} uncorrected memory errors on {at.card}"
    if mode is None:
        return UNKNOWN, f"{at.card} does not tell whether its memory is checked"
    return OK, f"ECC is {'on' if mode else 'off'}, no errors"


def check_link(at: Surroundings) -> Verdict:
    """Width only: the generation of an idle link drops to save power."""
    now, most = at.facts.get("link_width"), at.facts.get("link_width_maximum")
    if not now or not most:
        return UNKNOWN, f"{at.card} does not tell"
    return (WARNING if now < most else OK), f"PCIe x{now} of x{most}"


Checks = dict[str, Callable[[Surroundings], Verdict]]
HOST: Checks = {
    "governor": check_governor,
    "threads": check_threads,
    "load": check_load,
    "network_files": check_network_files,
}
CARD: Checks = {
    "others": check_others,
    "throttling": check_throttling,
    "memory_errors": check_memory_errors,
    "link": check_link,
}


def make_check(check: str, level: str, said: str) -> PreflightCheck:
    return {"check": check, "level": level, "said": said}


def check_machine(at: Surroundings, host: bool = True) -> list[PreflightCheck]:
    """One for each check, as a record keeps them. `host`: this rank speaks for its host, and not for its card alone."""
    return [make_check(name, *check(at)) for name, check in ((HOST if host else {}) | CARD).items()]


def list_warnings(found: Iterable[PreflightCheck]) -> list[str]:
    return list(dict.fromkeys(f"{one['check']}: {one['said']}" for one in found if one["level"] == WARNING))


def require_clean(found: Iterable[PreflightCheck]) -> None:
    """Raises UserError naming every warning: what --strict does."""
    if found_warnings := list_warnings(found):
        raise UserError(f"--strict, and this machine is not as it should be: {'; '.join(found_warnings)}")


def look_around(card: str, sensor: Sensor | None, threads: int, dataset: Path | None, shared: bool) -> Surroundings:
    """This machine, as the checks see it. `sensor` is one of bench.machine.telemetry's, or None."""
    return Surroundings(
        card=card,
        facts=sensor.facts() if sensor else {},
        users=sensor.users() if sensor else None,
        sample=(sensor.sample() if sensor else None) or {},
        own=own_processes(),
        shared=shared,
        governors=governors(),
        threads=threads,
        cores=cores(),
        load=os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        dataset=dataset,
        mounts=mounts(),
    )


def own_processes() -> set[int]:
    """This process and those that its parent started: the other ranks of a run."""
    parent = psutil.Process().parent()
    return {os.getpid(), *(child.pid for child in (parent.children(recursive=True) if parent else []))}


def governors(system: Path = Path("/sys")) -> set[str]:
    files = system.glob("devices/system/cpu/cpu*/cpufreq/scaling_governor")
    return {file.read_text(encoding="utf8").strip() for file in files}


def cores(system: Path = Path("/sys")) -> int:
    """Cores that this process may use: its affinity, and the quota of its container (cgroup 2)."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = (system / "fs/cgroup/cpu.max").read_text(encoding="utf8").split()
    except (OSError, ValueError):
        return count
    return count if quota == "max" else max(1, min(count, int(quota) // int(period)))


def mounts(table: Path = Path("/proc/mounts")) -> list[tuple[str, str]]:
    try:
        lines = table.read_text(encoding="utf8").splitlines()
    except OSError:
        return []
    return [(words[1], words[2]) for words in map(str.split, lines) if len(words) > 2]
