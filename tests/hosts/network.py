"""Several hosts on one machine: network namespaces with addresses and names of their own, joined by a switch."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.support import ROOT


def possible() -> bool:
    return os.geteuid() == 0 and all(shutil.which(tool) for tool in ("ip", "unshare"))


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


@dataclass
class Running:
    """A command on a host, its output in a file. Kill it by `end`."""

    process: subprocess.Popen
    output: Path

    def said(self) -> str:
        return self.output.read_text(errors="replace")

    def wait(self, timeout_s: float) -> int:
        return self.process.wait(timeout_s)

    def end(self) -> None:
        """As if the host lost power: also the ranks, which torchrun starts in sessions of their own."""
        if self.process.poll() is None:
            for one in (*psutil.Process(self.process.pid).children(recursive=True), self.process):
                one.kill()
        self.process.wait()


@dataclass
class Cable:
    """Hosts that each have one cable, to a switch. Use as a context manager: what it made and started goes with it."""

    folder: Path
    hosts: int = 2
    running: list[Running] = field(default_factory=list)
    address: str = "10.213.77.{}"

    @property
    def names(self) -> list[str]:
        return [f"crnn{os.getpid()}h{host}" for host in range(self.hosts)]

    @property
    def switch(self) -> str:
        return f"crnn{os.getpid()}switch"

    def __enter__(self) -> Cable:
        ip("netns", "add", self.switch)
        ip("-n", self.switch, "link", "add", "switch", "up", "type", "bridge")
        for host, name in enumerate(self.names):
            self.build(host, name)
        self.plug()
        return self

    def build(self, host: int, name: str) -> None:
        """A namespace with an address of its own and no name server: a question to one would wait ten seconds."""
        ip("netns", "add", name)
        settings = Path("/etc/netns") / name
        settings.mkdir(parents=True)
        (settings / "resolv.conf").touch()
        ip(
            "link",
            "add",
            f"cable{host}",
            "netns",
            name,
            "type",
            "veth",
            "peer",
            "name",
            f"port{host}",
            "netns",
            self.switch,
        )
        ip("-n", self.switch, "link", "set", f"port{host}", "up", "master", "switch")
        ip("-n", name, "addr", "add", f"{self.address.format(host + 1)}/24", "dev", f"cable{host}")
        ip("-n", name, "link", "set", "lo", "up")

    def __exit__(self, *failure) -> None:
        for one in self.running:
            one.end()
        for name in (*self.names, self.switch):
            ip("netns", "delete", name)
            shutil.rmtree(Path("/etc/netns") / name, ignore_errors=True)

    def plug(self) -> None:
        for i, name in enumerate(self.names):
            ip("-n", name, "link", "set", f"cable{i}", "up")

    def cut(self) -> None:
        """No farewell reaches the other side, as when a switch loses power."""
        for i, name in enumerate(self.names):
            ip("-n", name, "link", "set", f"cable{i}", "down")

    def limit(self, rate: str) -> None:
        """Slow the cable down, both ways; `rate` as tc spells it."""
        bucket = ["tbf", "rate", rate, "burst", "256kb", "latency", "50ms"]
        for i, name in enumerate(self.names):
            subprocess.run(["tc", "-n", name, "qdisc", "replace", "dev", f"cable{i}", "root", *bucket], check=True)

    def start(self, host: int, command: list[str], environment: dict[str, str]) -> Running:
        """Run a command on a host that calls itself node<host>, a name that does not resolve."""
        output = self.folder / f"host{host}.{len(self.running)}.log"
        named = ["unshare", "-u", "sh", "-c", f'hostname node{host}; exec "$@"', "sh", *command]
        with output.open("w") as file:
            process = subprocess.Popen(
                ["ip", "netns", "exec", self.names[host], *named],
                env=environment,
                cwd=self.folder,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.running.append(Running(process, output))
        return self.running[-1]

    def run(self, script: str, *options: str, hosts: Iterable[int] = (), **environment: str) -> list[Running]:
        """Start a run script on these hosts, on all by default, together as one job."""
        command = ["bash", str(ROOT / "run_scripts" / f"{script}.sh"), *options]
        job = {"NNODES": str(self.hosts), "MASTER_ADDR": self.address.format(1)}
        these = hosts or range(self.hosts)
        return [self.start(host, command, {**job, "NODE_RANK": str(host), **environment}) for host in these]
