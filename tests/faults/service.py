"""Attacks on the HTTP service, in a process of its own on loopback: `python -m tests.faults.service`.

An attack is survived when each of its requests gets a clear 4xx or 503 (or is hung up on in time), the service then
answers an ordinary request right, its memory has not grown beyond what was stated, its connections are closed again,
and it has printed nothing.
"""

from __future__ import annotations

import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache

import numpy as np

from tests.faults.odd_requests import DOUBTFUL, mutations
from tests.faults.runs import run_cases
from tests.faults.served import (
    ANSWER_S,
    DRAIN_S,
    FILE,
    FORM,
    IMAGE,
    UPLOAD_S,
    Service,
    form,
    head,
    post,
    service,
)
from tests.support.images import encoded

GROWTH_MB = 200  # of its memory, that an attack may leave: decoding 30 megapixels takes 150, which glibc keeps


def attacked(attack: Callable[[Service], tuple[bool, str]], **limits) -> Callable[[], tuple[bool, str]]:
    """A case: the attack, and whether the service is then as it was."""

    def case() -> tuple[bool, str]:
        with service(**limits) as found:
            before = found.files()
            held, said = attack(found)
            well = any(found.reads() or time.sleep(1) for _ in range(5))  # a 503 says: again in a second
            time.sleep(0.5)
            left = found.files() - before
            if left > 2:
                time.sleep(UPLOAD_S + 1)
                left = found.files() - before
            grown, printed = found.process.memory_info().rss / 1e6 - found.memory_mb, found.log.read_text().strip()
            after = f"{said}; then: reads {well}, {grown:+.0f} MB, {left:+d} files" + f"; printed {printed}" * bool(
                printed
            )
            return held and well and left <= 2 and grown < GROWTH_MB and not printed, after

    return case


def drip(first: bytes, each: bytes, seconds: float = 30) -> Iterator[bytes]:
    yield first
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        time.sleep(0.1)
        yield each


def flood(first: bytes, each: bytes, megabytes: int) -> Iterator[bytes]:
    yield first
    for _ in range(megabytes * 1_000_000 // len(each)):
        yield each


def crowd(found: Service, content: Callable[[], bytes | Iterator[bytes]], size: int) -> Counter:
    """The statuses that this many clients get at once."""
    statuses: Counter = Counter()
    threads = [threading.Thread(target=lambda: statuses.update([found.status(content())])) for _ in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return statuses


def slow(content: Callable[[], Iterator[bytes]], expected: set[int], size: int = 100):
    """Many slow clients are ended in time, and an ordinary one is answered meanwhile."""

    def attack(found: Service) -> tuple[bool, str]:
        began, statuses = time.monotonic(), Counter()
        crowds = threading.Thread(target=lambda: statuses.update(crowd(found, content, size)))
        crowds.start()
        time.sleep(UPLOAD_S / 2)
        meanwhile = found.reads()
        crowds.join()
        took = time.monotonic() - began
        in_time = took < 2 * UPLOAD_S + ANSWER_S + 3
        return meanwhile and in_time and set(statuses) <= expected, f"{dict(statuses)} after {took:.1f} s"

    return attacked(attack)


def one(content: Callable[[], bytes | Iterator[bytes]], *expected: int, most_mb: float = 150):
    """One request gets one of these answers, and the service is never larger than so much more than before."""

    def attack(found: Service) -> tuple[bool, str]:
        began, largest, over = time.monotonic(), [0.0], threading.Event()

        def watch() -> None:
            while not over.wait(0.05):
                largest[0] = max(largest[0], found.process.memory_info().rss / 1e6 - found.memory_mb)

        watching = threading.Thread(target=watch)
        watching.start()
        status = found.status(content())
        over.set()
        watching.join()
        said = f"{status} after {time.monotonic() - began:.1f} s, at most {largest[0]:+.0f} MB"
        return status in expected and largest[0] < most_mb, said

    return attacked(attack)


def fuzz(count: int, seed: int):
    """No mutated request gets an answer that is a 5xx other than 503, or no HTTP."""

    def attack(found: Service) -> tuple[bool, str]:
        with ThreadPoolExecutor(50) as pool:
            statuses = Counter(pool.map(found.status, mutations(count, seed)))
        good = 200 in statuses and not set(statuses) & {500, 502, 504} and statuses[0] < count / 20
        return good, f"{count} requests: {dict(sorted(statuses.items()))}"

    return attacked(attack)


def doubtful(found: Service) -> tuple[bool, str]:
    statuses = {name: found.status(request) for name, request in DOUBTFUL.items()}
    wrong = {name: status for name, status in statuses.items() if not 400 <= status < 500 and status != 503}
    return not wrong, f"{len(statuses)} requests: {dict(Counter(statuses.values()))}; otherwise answered: {wrong}"


def idle(size: int, limit: int):
    """Thousands of connections that say nothing: a clear 503 while they are open, and the service when they are not."""

    def attack(found: Service) -> tuple[bool, str]:
        held = []
        for _ in range(size):
            with suppress(OSError):
                held.append(found.connect())
        statuses = Counter(found.status(post(IMAGE)) for _ in range(10))
        most = found.files()
        time.sleep(UPLOAD_S + 1)
        after = found.reads()
        for connection in held:
            connection.close()
        said = f"{len(held)} opened, {most} files there, {dict(statuses)}; {UPLOAD_S} s later it reads: {after}"
        return after and most < limit + 100 and set(statuses) <= {200, 503}, said

    return attacked(attack)


def not_taken(found: Service) -> tuple[bool, str]:
    """20 clients ask for the API's page of 1 MB five times each and read nothing."""
    ask = b"GET /swagger/swagger-ui-bundle.js HTTP/1.1\r\nHost: localhost\r\n\r\n" * 5
    held = [found.connect() for _ in range(20)]
    for connection in held:
        connection.sendall(ask)
    time.sleep(0.5)
    meanwhile, most = found.reads(), found.files()
    time.sleep(UPLOAD_S + 1.5)
    after = found.files()
    for connection in held:
        connection.close()
    return meanwhile and after < most - 15, f"files open: {most}, after {UPLOAD_S + 1.5} s {after}"


def cut_off(found: Service) -> tuple[bool, str]:
    for number in range(2000):
        with found.connect() as connection:
            connection.sendall(post(IMAGE)[: number % 400])
    return True, "2,000 connections cut off at every place"


def told_to_end() -> tuple[bool, str]:
    """SIGTERM with 40 requests under way, 20 half sent and 100 connections idle: exit code 0, in time."""
    with service() as found:
        held = [found.connect() for _ in range(100)]
        half = [found.connect() for _ in range(20)]
        for connection in half:
            connection.sendall(post(IMAGE)[:300])
        statuses: Counter = Counter()
        crowds = threading.Thread(target=lambda: statuses.update(crowd(found, lambda: post(IMAGE), 40)))
        crowds.start()
        time.sleep(0.1)
        began = time.monotonic()
        found.process.send_signal(signal.SIGTERM)
        code = found.process.wait(30)
        took = time.monotonic() - began
        crowds.join()
        printed = found.log.read_text().strip()
        for connection in [*held, *half]:
            connection.close()
        said = f"exit code {code} after {took:.1f} s; {dict(statuses)}" + f"; printed {printed}" * bool(printed)
        answered = set(statuses) <= {0, 200, 503} and statuses[200] > 0
        return code == 0 and took < DRAIN_S + 3 and answered and not printed, said


@cache  # making it takes longer than refusing it
def heavy_images() -> bytes:
    """A form of 64 images of 30 megapixels: 2 MB that take a while to decode."""
    return post(form(*[(FILE, encoded(np.full((5000, 6000), 255, np.uint8), compress_level=9))] * 64), kind=FORM)


UNREAD = head("Content-Length: 99999", path="/", close=False)
MILLION = b'{"images": [' + b'"",' * 1_000_000 + b'""]}'
CHUNKED = "Transfer-Encoding: chunked"
CASES = {
    "headers a byte at a time": slow(lambda: drip(b"GET / HTTP/1.1\r\nX: ", b"x"), {0, 408}),
    "connections that send line feeds": slow(lambda: drip(b"\r\n", b"\r\n"), {0, 408}),
    "bodies a byte at a time": slow(lambda: drip(head("Content-Length: 100000"), b"x"), {408, 503}),
    "bodies that are not read, a byte at a time": slow(lambda: drip(UNREAD, b"x"), {404, 405}),
    "chunks a byte at a time": slow(lambda: drip(head(CHUNKED), b"1\r\nx\r\n"), {408, 503}),
    "a body of 10 GB": one(lambda: flood(head("Content-Length: 10000000000"), bytes(65_536), 3000), 413),
    "chunks without end": one(lambda: flood(head(CHUNKED), b"10000\r\n" + bytes(65_536) + b"\r\n", 3000), 413),
    "chunks of one byte without end": one(lambda: flood(head(CHUNKED), b"1\r\nx\r\n" * 10_000, 1000), 413, 431),
    "a header without end": one(lambda: flood(b"GET / HTTP/1.1\r\nX: ", b"x" * 65_536, 3000), 431),
    "headers without end": one(lambda: flood(b"GET / HTTP/1.1\r\n", b"X: y\r\n" * 10_000, 1000), 431),
    "a path without end": one(lambda: flood(b"GET /", b"x" * 65_536, 1000), 431),
    "trailers without end": one(lambda: flood(head(CHUNKED) + b"0\r\n", b"X: y\r\n" * 10_000, 1000), 431),
    "a million images": one(lambda: post(MILLION, kind="application/json"), 413, most_mb=300),
    "64 x 30 megapixels": one(heavy_images, 503, 413, 422, most_mb=250),
    "64 x 30 megapixels, by 20 clients": slow(lambda: iter([heavy_images()]), {503, 413, 422}, 20),
    "doubtful requests": attacked(doubtful),
    **{f"mutated requests, seed {seed}": fuzz(1000, seed) for seed in (1, 2)},
    "3,000 idle connections": idle(3000, 800),
    "answers that are not taken": attacked(not_taken),
    "2,000 requests cut off": attacked(cut_off),
    "SIGTERM under load": told_to_end,
}  # fmt: skip

if __name__ == "__main__":
    run_cases(CASES, __doc__)
