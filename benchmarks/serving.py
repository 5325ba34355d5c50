"""The service under load: `python -m benchmarks.serving --weights best.pt`; with `--peer`, LitServe beside it.

Starts the service on a free port and sends it pictures whose texts were read before, without it: from as many clients
as it takes with ease, then from several times as many as it admits. Every answer is counted: right, wrong, busy (503
with Retry-After), or lost (anything else). Clients share the machine with the service.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import io
import itertools
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import numpy as np
from PIL import Image
from tabulate import tabulate

from bench.errors import UserError, run_cli
from bench.options import Bounds, Command
from models import Recogniser
from models.engines.typical import comparison_images

ROOT = Path(__file__).resolve().parent.parent
PATIENCE_S = 30  # after which an answer is lost


@dataclass
class Load:
    """What clients got."""

    outcomes: Counter = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)  # of right answers
    span_s: float = 0.0

    def row(self, name: str, clients: int) -> list:
        ms = np.percentile(self.seconds or [np.nan], (50, 99)) * 1e3
        counts = [self.outcomes[kind] for kind in ("right", "wrong", "busy", "lost")]
        return [name, clients, round(self.outcomes["right"] / self.span_s, 1), *ms.round(1), *counts]


COLUMNS = ["what", "clients", "right/s", "p50 ms", "p99 ms", "right", "wrong", "busy", "lost"]


@dataclass
class ServingOptions:
    """Measure the service under load."""

    weights: str | None = None
    """A checkpoint; default: the shipped weights"""
    clients: Annotated[int, Bounds(1)] = 16
    """Of the steady part"""
    flood: Annotated[int, Bounds(1)] = 400
    """Clients of the overload; the service admits 128"""
    seconds: Annotated[float, Bounds(above=0)] = 10
    """Of each part"""
    alternatives: Annotated[int, Bounds(0)] = 0
    """Other texts that are asked for"""
    peer: bool = False
    """LitServe with the same network, too"""


COMMAND = Command("benchmarks.serving", ServingOptions, "--weights best.pt")


def encoded(picture: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "PNG")
    return file.getvalue()


def known(weights: str | None) -> list[tuple[bytes, str]]:
    """Pictures and what they read as, alone and without a service."""
    reader = Recogniser.load(weights, device="CPU")
    words = comparison_images(reader.shape)
    pictures = [encoded(np.ascontiguousarray(word.transpose(1, 2, 0)[:, :, 0])) for word in words]
    return [(picture, reader(picture, alternatives=0).text) for picture in pictures]


@contextlib.contextmanager
def served(command: list[str]) -> Iterator[str]:
    """The URL that a service prints, while it runs; afterwards nothing of it is left, its workers included."""
    own = {"cwd": ROOT, "stdout": subprocess.PIPE, "text": True, "start_new_session": True}
    with subprocess.Popen([sys.executable, *command], **own) as server:
        try:
            line = next((line for line in server.stdout if "http://" in line), None)
            if line is None:
                raise UserError(f"{' '.join(command)} did not start")
            yield line.split()[-1].rstrip("/")
        finally:
            server.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                server.wait(PATIENCE_S)
            with contextlib.suppress(ProcessLookupError):  # LitServe's workers outlive it
                os.killpg(server.pid, signal.SIGKILL)


async def ask(session, url: str, picture: bytes, text: str) -> str:
    body = {"images": [base64.b64encode(picture).decode()]}
    async with session.post(url, json=body) as response:
        if response.status == 503 and "Retry-After" in response.headers:
            return "busy"
        if response.status != 200:
            return "lost"
        return "right" if (await response.json())["results"][0]["text"] == text else "wrong"


async def client(session, url: str, pictures: Iterator, until: float, load: Load) -> None:
    import aiohttp

    while (began := time.perf_counter()) < until:
        try:
            outcome = await ask(session, url, *next(pictures))
        except (aiohttp.ClientError, asyncio.TimeoutError):
            outcome = "lost"
        load.outcomes[outcome] += 1
        if outcome == "right":
            load.seconds.append(time.perf_counter() - began)
        if outcome != "right":
            await asyncio.sleep(0.1)  # a client that is told to wait does, if only a little


async def flood(url: str, known: list, clients: int, seconds: float) -> Load:
    try:
        import aiohttp
    except ImportError:
        raise UserError("clients need the package aiohttp: pip install -r requirements-dev.txt") from None
    load, pictures = Load(), itertools.cycle(known)
    patience = aiohttp.ClientTimeout(PATIENCE_S)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=patience) as session:
        await ready(session, url, pictures)
        began = time.perf_counter()
        until = time.perf_counter() + seconds
        await asyncio.gather(*(client(session, url, pictures, until, load) for _ in range(clients)))
        load.span_s = time.perf_counter() - began
    return load


async def ready(session, url: str, pictures: Iterator) -> None:
    """Until the first answer: LitServe says where it is before it is there."""
    until = time.perf_counter() + PATIENCE_S
    while time.perf_counter() < until:
        load = Load()
        await client(session, url, pictures, time.perf_counter() + 0.01, load)
        if load.outcomes["right"]:
            return
    raise UserError(f"{url} did not answer right in {PATIENCE_S} s")


def measured(name: str, command: list[str], path: str, asked: ServingOptions, pictures: list) -> Iterator[list]:
    with served(command) as url:
        for clients in (1, asked.clients, asked.flood):
            load = asyncio.run(flood(url + path, pictures, clients, asked.seconds))
            yield load.row(name, clients)


def main(argv: list[str] | None = None) -> None:
    asked = COMMAND.parse(argv)
    pictures = known(asked.weights)
    chosen = ["--weights", asked.weights] if asked.weights else []
    ours = ["-m", "models.serve", *chosen, "--port", "0", "--device", "CPU"]
    rows = list(measured("models.serve", ours, f"/recognise?alternatives={asked.alternatives}", asked, pictures))
    if asked.peer:
        rows += measured("LitServe", ["-m", "benchmarks.serving_peer", *chosen], "/recognise", asked, pictures)
    print(tabulate(rows, COLUMNS, tablefmt="github"))
    print(f"{os.cpu_count()} CPUs, {asked.seconds:g} s each, {asked.alternatives} alternatives")


if __name__ == "__main__":
    run_cli(main, "benchmarks.serving")
