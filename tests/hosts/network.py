"""Two hosts on one machine: network namespaces with addresses and names of their own, joined by one cable."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parent.parent.parent


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
    """Hosts 0 and 1. Use as a context manager: what it made and started goes with it."""

    folder: Path
    running: list[Running] = field(default_factory=list)
    names: tuple[str, str] = field(default_factory=lambda: tuple(f"crnn{os.getpid()}h{i}" for i in (0, 1)))
    address: str = "10.213.77.{}"

    def __enter__(self) -> Cable:
        for name in self.names:
            ip("netns", "add", name)
            ip("-n", name, "link", "set", "lo", "up")
            settings = Path("/etc/netns") / name  # no name server: a question to one would wait ten seconds
            settings.mkdir(parents=True)
            (settings / "resolv.conf").touch()
        here, there = self.names
        ip("link", "add", "cable0", "netns", here, "type", "veth", "peer", "name", "cable1", "netns", there)
        for i, name in enumerate(self.names):
            ip("-n", name, "addr", "add", f"{self.address.format(i + 1)}/24", "dev", f"cable{i}")
        self.plug()
        return self

    def __exit__(self, *failure) -> None:
        for one in self.running:
            one.end()
        for name in self.names:
            ip("netns", "delete", name)
            shutil.rmtree(Path("/etc/netns") / name)

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
        """Run a command on a host that calls itself node<host>, a name nobody resolves."""
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

    def run(self, script: str, *options: str, hosts: tuple[int, ...] = (0, 1), **environment: str) -> list[Running]:
        """Start a run script on the hosts, together as one job."""
        command = ["bash", str(ROOT / "run_scripts" / f"{script}.sh"), *options]
        job = {"NNODES": "2", "MASTER_ADDR": self.address.format(1)}
        return [self.start(host, command, {**job, "NODE_RANK": str(host), **environment}) for host in hosts]
