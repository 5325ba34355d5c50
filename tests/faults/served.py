"""The HTTP service in a process of its own, and the bytes that are sent to it: for tests/faults/service.py."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.support import ROOT
from tests.support.checkpoints import saved
from tests.support.images import encoded, noise

UPLOAD_S, ANSWER_S, DRAIN_S = 2, 3, 5
LIMITS = {"upload-seconds": UPLOAD_S, "answer-seconds": ANSWER_S, "drain-seconds": DRAIN_S, "megabytes": 4}
IMAGE = encoded(noise())
FILE = 'Content-Disposition: form-data; name="images"; filename="a.png"'
FORM = "multipart/form-data; boundary=x"


@dataclass
class Service:
    process: psutil.Process
    port: int
    log: Path
    memory_mb: float = 0

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=30)

    def ask(self, content: bytes | Iterator[bytes]) -> bytes:
        """All that a socket hears until it is hung up on, or for 30 s of silence."""
        with self.connect() as connection:
            sender = threading.Thread(target=send, args=(connection, content), daemon=True)
            sender.start()
            heard = b""
            with suppress(ConnectionError):
                while some := connection.recv(65_536):
                    heard += some
            return heard

    def status(self, content: bytes | Iterator[bytes]) -> int:
        """Of the first answer; 0: it hung up without one."""
        return status_of(self.ask(content))

    def reads(self) -> bool:
        answer = self.ask(post(IMAGE))
        return status_of(answer) == 200 and b'"results"' in answer

    def files(self) -> int:
        return self.process.num_fds()


def send(connection: socket.socket, content: bytes | Iterator[bytes]) -> None:
    with suppress(OSError):  # it hung up: what it said is heard by the other thread
        for part in [content] if isinstance(content, bytes) else content:
            connection.sendall(part)


def status_of(answer: bytes) -> int:
    found = re.match(rb"HTTP/1.1 (\d{3}) ", answer)
    return int(found[1]) if found else 0


def head(*lines: str, path: str = "/recognise", kind: str = "image/png", close: bool = True) -> bytes:
    every = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Type: {kind}", *["Connection: close"] * close]
    return "\r\n".join([*every, *lines, "", ""]).encode()


def post(body: bytes, **options) -> bytes:
    return head(f"Content-Length: {len(body)}", **options) + body


@contextmanager
def service(weights: str | None = None, **limits) -> Iterator[Service]:
    """weights: shipped ones by name; default: a small untrained network."""
    words = [word for name, value in {**LIMITS, **limits}.items() for word in (f"--limits.{name}", str(value))]
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        source = weights or str(saved(Path(folder)))
        command = [sys.executable, "-m", "models.serve", "--weights", source, "--port", "0", "--device", "CPU"]
        log = Path(folder) / "log"
        own = {"cwd": ROOT, "env": {**os.environ, "OMP_NUM_THREADS": "1"}, "stdout": subprocess.PIPE, "text": True}
        with log.open("w") as said, subprocess.Popen([*command, *words], stderr=said, **own) as process:
            try:
                port = int(process.stdout.readline().rstrip("/\n").rpartition(":")[2])
                made = Service(psutil.Process(process.pid), port, log)
                assert made.reads()
                made.memory_mb = made.process.memory_info().rss / 1e6
                yield made
            finally:
                process.kill()


def form(*parts: tuple[str, bytes], boundary: str = "x") -> bytes:
    inside = b"".join(f"--{boundary}\r\n{lines}\r\n\r\n".encode() + content + b"\r\n" for lines, content in parts)
    return inside + f"--{boundary}--\r\n".encode()
