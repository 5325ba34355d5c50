"""The service in a process of its own, and requests in each form that it takes."""

from __future__ import annotations

import base64
import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support import ROOT

requests = pytest.importorskip("requests")
HEAD = b"POST /recognise HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\nContent-Length: 1000\r\n\r\n"


@contextmanager
def served(weights: Path, *options: str, said=None, env: dict | None = None):
    """A service in a process of its own, and where it is. said: a file for what it prints to stderr. env: variables."""
    command = [sys.executable, "-m", "models.serve", "--weights", str(weights), "--port", "0", "--device", "CPU"]
    own = {
        "cwd": ROOT,
        "env": {**os.environ, "OMP_NUM_THREADS": "1", **(env or {})},
        "stdout": subprocess.PIPE,
        "text": True,
    }
    with subprocess.Popen([*command, *options], stderr=said, **own) as server:
        try:
            yield server, server.stdout.readline().split()[-1].rstrip("/")
        finally:
            server.kill()


def post(service, **request) -> requests.Response:
    return requests.post(f"{service}/recognise", timeout=20, **request)


def as_form(*images: bytes) -> dict:
    return {"files": [("images", (f"{n}.png", image)) for n, image in enumerate(images)]}


def as_json(*images: bytes) -> dict:
    return {"json": {"images": [base64.b64encode(image).decode() for image in images]}}


def as_type(kind: str, content: bytes) -> dict:
    return {"data": content, "headers": {"Content-Type": kind}}


def as_body(image: bytes) -> dict:
    return as_type("image/png", image)
