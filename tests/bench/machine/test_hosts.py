"""Hosts that meet, those that do not, and what each is told. The real job over a cable: tests/hosts."""

from __future__ import annotations

import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from bench.errors import UserError, seconds_setting
from bench.machine import hosts, launcher
from bench.machine.hosts import Place

FACTS = {"host": "node", "commit": "abc", "versions": {"torch": "2.13.0", "python": "3"}, "program": ["p"], "cards": 1}
SLURM = {"SLURM_STEP_NUM_NODES": "4", "SLURM_STEP_NUM_TASKS": "4", "SLURM_NODEID": "3", "MASTER_ADDR": "a"}
KUBEFLOW = {"PET_NNODES": "2", "PET_NODE_RANK": "1", "PET_MASTER_ADDR": "b", "PET_MASTER_PORT": "23456", "RANK": "1"}
INDEXED_JOB = {"NNODES": "2", "JOB_COMPLETION_INDEX": "1", "MASTER_ADDR": "c-0.c"}


@pytest.fixture
def port() -> int:
    with socket.socket() as one:
        one.bind(("", 0))
        return one.getsockname()[1]


@pytest.fixture
def patience(monkeypatch):
    """Hosts that wait for two seconds."""
    monkeypatch.setattr(hosts, "JOIN_TIMEOUT_S", 2.0)


@pytest.mark.parametrize(
    ("environment", "place"),
    [
        ({}, Place()),
        ({"NNODES": "1", "NODE_RANK": "7"}, Place()),
        ({"NNODES": "2", "NODE_RANK": "0", "MASTER_ADDR": "x", "MASTER_PORT": "1"}, Place(2, 0, "x", 1)),
        (SLURM, Place(4, 3, "a", 29500)),
        (SLURM | {"NNODES": "1"}, Place()),  # one host of an allocation, by hand
        (KUBEFLOW, Place(2, 1, "b", 23456)),
        (INDEXED_JOB, Place(2, 1, "c-0.c", 29500)),
        (INDEXED_JOB | {"MASTER_ADDR": "fd00::1"}, Place(2, 1, "fd00::1", 29500)),
    ],
)
def test_every_launcher_says_where_we_are_in_its_own_words(environment, place):
    assert Place.here(environment) == place


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"NNODES": "two"}, "NNODES=two is not a number"),
        ({"NNODES": "2", "NODE_RANK": "0"}, "MASTER_ADDR is not set"),
        ({"NNODES": "2", "NODE_RANK": "0", "MASTER_ADDR": "x:29500"}, "MASTER_ADDR=x:29500 has a port in it"),
        ({"NNODES": "2", "MASTER_ADDR": "x"}, "NODE_RANK is not set: it is 0 to 1"),
        ({"NNODES": "2", "MASTER_ADDR": "x", "NODE_RANK": "2"}, "NODE_RANK=2 is not a number from 0 to 1"),
        ({"NNODES": "2", "MASTER_ADDR": "x", "NODE_RANK": "1", "MASTER_PORT": "99999"}, "MASTER_PORT=99999"),
        (SLURM | {"SLURM_STEP_NUM_TASKS": "16"}, "one task a host"),
    ],
)
def test_a_place_that_contradicts_itself_is_refused(environment, said):
    with pytest.raises(UserError, match=said):
        Place.here(environment)


def meet_all(port: int, *facts: dict) -> list:
    """What each host gets from meeting the others: a Meeting, or the UserError it ended with."""

    def one(rank: int):
        try:
            return hosts.meet(Place(len(facts), rank, "127.0.0.1", port), facts[rank])
        except UserError as refusal:
            return refusal

    with ThreadPoolExecutor(len(facts)) as pool:
        return list(pool.map(one, range(len(facts))))


def test_hosts_meet_and_know_each_other(port):
    meetings = meet_all(port, *({**FACTS, "host": f"node{i}"} for i in range(3)))
    assert len({meeting.job for meeting in meetings}) == 1
    assert [host["host"] for host in meetings[2].hosts] == ["node0", "node1", "node2"]
    assert meetings[0].others() == "host 1 (node1), host 2 (node2)"
    assert {meeting.address for meeting in meetings} == {"127.0.0.1"}
    assert {meeting.interface for meeting in meetings} == {"lo"}


def test_torchrun_numbers_hosts_as_we_do(port):
    """Its rendezvous sorts by address; '~' sorts behind every letter, digit and colon."""
    arguments = [launcher.rendezvous_arguments(meeting) for meeting in meet_all(port, FACTS, FACTS, FACTS)]
    addresses = [word.partition("=")[2] for words in arguments for word in words if word.startswith("--local-addr")]
    assert addresses[0] == "127.0.0.1"
    assert addresses == sorted(addresses)
    assert sorted(["~00001", "fe80::1", "zebra"])[-1] == "~00001"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"commit": "def"}, r"commit is abc on host 0 \(node\) and def on host 1 \(node\) \(CRNN_MIXED_HOSTS=1"),
        ({"versions": {"torch": "2.1.0", "python": "3"}}, r"versions is torch 2.13.0 .* and torch 2.1.0 on host 1"),
        ({"program": ["p", "--steps", "2"]}, r"program is p on .* and p --steps 2 on host 1 \(node\)$"),
        ({"cards": 4}, "cards is 1 on .* and 4 on"),
    ],
)
def test_hosts_that_run_something_else_are_refused_on_every_host(change, said, port, patience):
    refusals = meet_all(port, FACTS, {**FACTS, **change})
    for refusal in refusals:
        with pytest.raises(UserError, match=said):
            raise refusal


def test_other_commits_and_versions_may_be_allowed_another_program_not(monkeypatch):
    monkeypatch.setenv("CRNN_MIXED_HOSTS", "1")
    other = {**FACTS, "commit": "def", "versions": {"torch": "2.1.0"}, "rank": 1}
    assert hosts.host_differences([{**FACTS, "rank": 0}, other]) == []
    assert len(hosts.host_differences([{**FACTS, "rank": 0}, {**other, "program": ["q"]}])) == 1


def test_a_host_that_never_joins_is_named_in_time(port, patience):
    began = time.monotonic()
    with pytest.raises(UserError, match="host 1, 2 of 0 to 2 has not joined within 2 s"):
        hosts.meet(Place(3, 0, "127.0.0.1", port), FACTS)
    assert time.monotonic() - began < 10


def test_a_first_host_that_is_not_there_is_named_in_time(port, patience):
    with pytest.raises(UserError, match=f"host 0 was not reached at 127.0.0.1:{port} within 2 s .*refused"):
        hosts.meet(Place(2, 1, "127.0.0.1", port), FACTS)


def test_a_port_that_is_taken_is_named(port):
    with socket.socket(socket.AF_INET6) as other:
        other.bind(("::", port))
        other.listen()
        with pytest.raises(UserError, match=f"port {port} of host 0 cannot be had: set MASTER_PORT"):
            hosts.meet(Place(2, 0, "127.0.0.1", port), FACTS)


def test_a_first_host_that_falls_silent_is_noticed(port, patience):
    lost = threading.Event()
    hosts.watch_first_host(Place(2, 1, "127.0.0.1", port), lambda sentence: lost.set())
    assert lost.wait(timeout=10)


def test_a_first_host_that_answers_is_not_lost(port, patience):
    lost = threading.Event()
    with socket.socket() as first:
        first.bind(("127.0.0.1", port))
        first.listen(64)
        hosts.watch_first_host(Place(2, 1, "127.0.0.1", port), lambda sentence: lost.set())
        assert not lost.wait(timeout=4)


def test_restarts_by_default_only_where_hosts_may_be_lost():
    assert launcher.restarts_allowed({}, Place()) == 0
    assert launcher.restarts_allowed({}, Place(hosts=2)) == 3
    assert launcher.restarts_allowed({"MAX_RESTARTS": "1"}, Place(hosts=2)) == 1
    with pytest.raises(UserError, match="MAX_RESTARTS=-1"):
        launcher.restarts_allowed({"MAX_RESTARTS": "-1"}, Place())


@pytest.mark.parametrize("value", ["soon", "-1", "nan", "inf"])
def test_a_time_that_is_none_is_one_line(value, monkeypatch, capsys):
    monkeypatch.setenv("CRNN_TIMEOUT_S", value)
    with pytest.raises(SystemExit) as end:
        seconds_setting("CRNN_TIMEOUT_S", "300")
    assert end.value.code == 2
    assert capsys.readouterr().err == f"error: CRNN_TIMEOUT_S={value} is not a number of seconds\n"
