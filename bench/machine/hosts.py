"""The hosts of a job: how many, which one is this, do all run the same thing, is the first of them still there.

Host 0 keeps a store at MASTER_ADDR:MASTER_PORT for as long as its launcher lives. Every host signs in there with what
it is about to run; none begins before all have signed in alike. torchrun meets in the same store, on the same port.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import psutil
from torch.distributed import TCPStore  # type: ignore[attr-defined]  # torch exports it without saying so

from bench.errors import UserError, seconds_setting
from bench.records import provenance

# How long hosts wait for each other: at the start, where images are still being pulled, and after a failure, where a
# host may have to be replaced. torchrun's own default for a rendezvous is the same.
JOIN_TIMEOUT_S = seconds_setting("CRNN_JOIN_TIMEOUT_S", "600")
PROBE_S = 5.0
SignIn = dict[str, Any]  # what a host signs in with
PORT = "29500"

# Who started this process says it in variables of its own; the first that is set counts. By hand, srun, Kubeflow's
# PyTorchJob, an indexed Job of Kubernetes.
VARIABLES = {
    "hosts": ("NNODES", "SLURM_STEP_NUM_NODES", "PET_NNODES"),
    "rank": ("NODE_RANK", "SLURM_NODEID", "PET_NODE_RANK", "JOB_COMPLETION_INDEX"),
    "address": ("MASTER_ADDR", "PET_MASTER_ADDR"),
    "port": ("MASTER_PORT", "PET_MASTER_PORT"),
}
# What must be the same on every host. CRNN_MIXED_HOSTS=1 allows the first two to differ.
ALIKE = ("commit", "versions", "program", "cards")
MIXED_ALLOWED = ("commit", "versions")


def mixed_allowed(environment: Mapping[str, str] = os.environ) -> bool:
    return environment.get("CRNN_MIXED_HOSTS") == "1"


def first_set(environment: Mapping[str, str], what: str, default: str) -> tuple[str, str]:
    """(variable, value) of the first variable that is set."""
    names = VARIABLES[what]
    return next(((name, environment[name]) for name in names if environment.get(name)), (names[0], default))


def integer_setting(environment: Mapping[str, str], what: str, default: str, least: int, most: int) -> int:
    name, value = first_set(environment, what, default)
    if not value.isdecimal() or not least <= int(value) <= most:
        raise UserError(f"{name}={value} is not a number from {least} to {most}")
    return int(value)


@dataclass(frozen=True)
class Place:
    """Which of how many hosts this is, and where host 0 is met."""

    hosts: int = 1
    rank: int = 0
    address: str = "localhost"
    port: int = int(PORT)

    @classmethod
    def here(cls, environment: Mapping[str, str] = os.environ) -> Place:
        """As the environment says. Raises UserError where it contradicts itself."""
        hosts = integer_setting(environment, "hosts", "1", 1, 100_000)
        if hosts == 1:
            return cls()
        if environment.get("SLURM_STEP_NUM_TASKS", str(hosts)) != str(hosts) and "NNODES" not in environment:
            raise UserError(
                "srun must start one task a host (--ntasks-per-node=1): the cards of a host are started here"
            )
        address = first_set(environment, "address", "")[1]
        if not address:
            raise UserError(f"{hosts} hosts, but MASTER_ADDR is not set: it is the address of host 0, on every host")
        if address.count(":") == 1:  # more of them are an IPv6 address
            raise UserError(f"MASTER_ADDR={address} has a port in it: that belongs into MASTER_PORT")
        if not first_set(environment, "rank", "")[1]:
            raise UserError(f"{hosts} hosts, but NODE_RANK is not set: it is 0 to {hosts - 1}, another on every host")
        return cls(
            hosts,
            integer_setting(environment, "rank", "0", 0, hosts - 1),
            address,
            integer_setting(environment, "port", PORT, 1, 65535),
        )

    @property
    def leads(self) -> bool:
        return self.rank == 0

    @property
    def endpoint(self) -> str:
        """Where this host finds the store: what MASTER_ADDR resolves to on host 0 itself may be anything."""
        return f"{'localhost' if self.leads else self.address}:{self.port}"


def connect_to_first_host(place: Place, timeout_s: float) -> tuple[str, str]:
    """(this host's address, host 0's address) as their connection has them. Raises UserError after timeout_s."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            with socket.create_connection((place.address, place.port), timeout=PROBE_S) as connection:
                return connection.getsockname()[0], connection.getpeername()[0]
        except OSError as error:
            if time.monotonic() > deadline:
                raise UserError(
                    f"host 0 was not reached at {place.address}:{place.port} within {timeout_s:g} s ({error}): is it"
                    " started, are MASTER_ADDR and MASTER_PORT its own, is the port open?"
                ) from None
        time.sleep(0.5)


def open_store(place: Place) -> TCPStore:
    """The store of the job: held by host 0, joined by the others. Raises UserError when the port is taken."""
    host = "localhost" if place.leads else place.address
    try:
        return TCPStore(
            host,
            place.port,
            is_master=place.leads,
            multi_tenant=True,  # torchrun, in this process, opens the same one
            wait_for_workers=False,
            timeout=timedelta(seconds=60),
        )
    except RuntimeError as error:
        reason = str(error).splitlines()[0][:200]
        if place.leads:
            raise UserError(
                f"port {place.port} of host 0 cannot be had: set MASTER_PORT to a free one, the same on every host"
                f" ({reason})"
            ) from None
        raise UserError(f"{place.address}:{place.port} answers, but not as host 0 of a job ({reason})") from None


@dataclass(frozen=True)
class Meeting:
    """A job whose hosts have all signed in. Keep it while the job runs: host 0 holds the store for the others."""

    place: Place
    store: TCPStore
    job: str  # a name no other job has
    hosts: list[SignIn]  # what each host signed in with, in the order of their ranks

    @property
    def address(self) -> str:
        """This host's address as the others reach it. Host 0 cannot know its own: host 1 has told."""
        address: str = self.hosts[1]["host_0_address"] if self.place.leads else self.hosts[self.place.rank]["address"]
        return address

    @property
    def interface(self) -> str | None:
        """The network interface with that address; None when no interface has it (NAT)."""
        found = psutil.net_if_addrs().items()
        return next((name for name, all_ in found if any(one.address == self.address for one in all_)), None)

    def others(self) -> str:
        return ", ".join(host_name(host) for host in self.hosts if host["rank"] != self.place.rank)


def host_name(host: SignIn) -> str:
    return f"host {host['rank']} ({host['host']})"


def meet(place: Place, facts: SignIn) -> Meeting:
    """Sign in and wait for all. Raises UserError, naming who is missing or what differs."""
    mine, first = ("", "") if place.leads else connect_to_first_host(place, JOIN_TIMEOUT_S)
    store = open_store(place)
    signed = {"rank": place.rank, "address": mine, "host_0_address": first, **facts}
    try:
        if place.leads:
            store.set("crnn/job", uuid.uuid4().hex)
        store.set(f"crnn/host/{place.rank}", json.dumps(signed))
        store.add(f"crnn/signed/{place.rank}", 1)
        await_all(place, store)
        hosts = [json.loads(store.get(f"crnn/host/{rank}")) for rank in range(place.hosts)]
        job = store.get("crnn/job").decode()
        leave_together(place, store)
    except RuntimeError as error:  # host 0 has gone, and the store with it
        raise UserError(
            f"host 0 ended before all hosts had met; its own output says why ({str(error)[:100]})"
        ) from None
    if differences := host_differences(hosts):
        raise UserError(f"the hosts do not run the same: {'; '.join(differences)}")
    return Meeting(place, store, job, hosts)


def is_marked(store: TCPStore, key: str) -> bool:
    """Whether any host added 1 to a key. torch 2.1's store answers no other question without waiting (no `check`; its
    `compare_set` crashes with other threads)."""
    return store.add(key, 0) > 0


def await_all(place: Place, store: TCPStore) -> None:
    """Wait until every host has signed in, saying for whom. Raises UserError after JOIN_TIMEOUT_S."""
    began, spoken = time.monotonic(), False
    while missing := [r for r in range(place.hosts) if not is_marked(store, f"crnn/signed/{r}")]:
        waited, names = time.monotonic() - began, ", ".join(map(str, missing))
        if waited > JOIN_TIMEOUT_S:
            raise UserError(
                f"host {names} of 0 to {place.hosts - 1} has not joined within {JOIN_TIMEOUT_S:g} s: is it started,"
                f" with the same NNODES, MASTER_ADDR and MASTER_PORT? CRNN_JOIN_TIMEOUT_S sets the wait"
            )
        if waited > 5 and not spoken:
            spoken = True
            print(f"host {place.rank} waits for host {names} of {place.hosts}", flush=True)
        time.sleep(0.1)


def leave_together(place: Place, store: TCPStore) -> None:
    """Host 0 continues when all have read what all have signed: it might end, and the store with it."""
    store.add(f"crnn/read/{place.rank}", 1)
    everyone = [f"crnn/read/{rank}" for rank in range(place.hosts)]
    deadline = time.monotonic() + PROBE_S
    while place.leads and not all(is_marked(store, key) for key in everyone) and time.monotonic() < deadline:
        time.sleep(0.05)


def sign_in_facts(program: list[str], cards: int) -> SignIn:
    """What a host signs in with."""
    collected = provenance.collect()
    commit = f"{collected['commit']}{' with changes' if collected['dirty'] else ''}"
    versions = {"python": collected["python"], **collected["versions"]}
    return {"host": collected["host"], "commit": commit, "versions": versions, "program": program, "cards": cards}


def host_differences(hosts: list[SignIn]) -> list[str]:
    """One text for each way in which a host differs from host 0 without leave."""
    asked = [key for key in ALIKE if not (mixed_allowed() and key in MIXED_ALLOWED)]
    found = []
    for other in hosts[1:]:
        for key in asked:
            if hosts[0][key] == other[key]:
                continue
            here, there = differing_values(hosts[0][key], other[key])
            hint = " (CRNN_MIXED_HOSTS=1 allows it)" if key in MIXED_ALLOWED else ""
            found.append(f"{key} is {here} on {host_name(hosts[0])} and {there} on {host_name(other)}{hint}")
    return found


def differing_values(one: Any, other: Any) -> tuple[str, str]:
    """The two values, of dictionaries only the keys in which they differ."""
    if not isinstance(one, dict):
        here, there = (" ".join(map(str, v)) if isinstance(v, list) else str(v) for v in (one, other))
        return here, there
    keys = [key for key in sorted({*one, *other}) if one.get(key) != other.get(key)]
    here, there = (", ".join(f"{key} {values.get(key)}" for key in keys) for values in (one, other))
    return here, there


def watch_first_host(place: Place, lost: Callable[[str], object]) -> None:
    """From now on call `lost` with a sentence when host 0 has not answered for JOIN_TIMEOUT_S.

    A link that is cut sends no farewell: torchrun's next word to the store would wait for the kernel to give up, which
    takes a quarter of an hour, and Python's signals wait with it.
    """

    def keep_asking() -> None:
        heard = time.monotonic()
        while time.monotonic() - heard < JOIN_TIMEOUT_S:
            time.sleep(min(PROBE_S, JOIN_TIMEOUT_S / 4))
            try:
                socket.create_connection((place.address, place.port), timeout=PROBE_S).close()
                heard = time.monotonic()
            except OSError:
                continue
        lost(f"host 0 ({place.address}:{place.port}) has not answered for {JOIN_TIMEOUT_S:g} s")

    if not place.leads:
        threading.Thread(target=keep_asking, name="watch host 0", daemon=True).start()
