"""What honest clients get while others attack: `python -m tests.faults.fairness`.

The service reads the shipped weights `crnn_small`. Four honest clients send one word image after another over open
connections; eight hostile ones together send 2 Mbit/s of what costs most to refuse. Then 20,000 requests of 200
clients: each of 400 different images, whose text and confidence are known beforehand.
"""

from __future__ import annotations

import http.client
import itertools
import json
import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

import numpy as np
from PIL import Image, ImageDraw

from models import Recogniser
from tests.faults.served import FILE, FORM, Service, form, post, service
from tests.support.images import encoded, noise
from tests.support.stalls import PICTURES

HONEST, HOSTILE = 4, 8
BITS_A_SECOND = 2e6  # of all hostile clients together
SECONDS, PAIRS = 4, 3  # of each span, alone and attacked in turn: other work on the machine is in both
LIMITS = {"answer-seconds": 10, "upload-seconds": 10, "decode-seconds": 3, "megabytes": 16}


def word_image(number: int) -> bytes:
    """A number in words of one font, 32 x 100 px in some 400 bytes."""
    image = Image.new("L", (100, 32), 255)
    ImageDraw.Draw(image).text((4, 4), "".join(chr(ord("a") + int(d)) for d in f"{number:03}"), font_size=22, fill=0)
    return encoded(np.asarray(image))


def noise_image(number: int) -> bytes:
    return encoded(noise(32, 100, 1, number)[:, :, 0])


def white(height: int, width: int) -> bytes:
    return encoded(np.full((height, width), 255, np.uint8), compress_level=9)


ATTACKS: dict[str, Callable[[], bytes]] = {
    "BMP in runs, 31 megapixels": lambda: post(PICTURES["a BMP of runs"](), kind="image/bmp"),
    "PNG of one colour, 31 megapixels": lambda: post(white(5600, 5600)),
    "PNG of one colour, 1 megapixel": lambda: post(white(1000, 1000)),
    "TIFF of 60,000 pages": lambda: post(PICTURES["a TIFF of 60,000 pages"](), kind="image/tiff"),
    "form in punycode": lambda: post(form(('Content-Disposition: form-data; name="a"', b"a" * 200_000)),
                                     kind=f"{FORM}; charset=punycode"),
    "JSON of lists, 1 MB": lambda: post(b'{"images": [' + b"[]," * 330_000 + b"[]]}", kind="application/json"),
    "64 images of noise, 10 alternatives": lambda: post(form(*[(FILE, noise_image(n)) for n in range(64)]),
                                                     kind=FORM, path="/recognise?alternatives=10"),
}  # fmt: skip


def honest_client(found: Service, over: threading.Event, seconds: list[float], image: bytes) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", found.port, timeout=60)
    while not over.is_set():
        began = time.monotonic()
        connection.request("POST", "/recognise", image, {"Content-Type": "image/png"})
        answer = connection.getresponse()
        answer.read()
        if answer.status == 200:
            seconds.append(time.monotonic() - began)


def hostile_client(found: Service, over: threading.Event, content: bytes, statuses: Counter, begins: float) -> None:
    """Sends it as often as its share of the bits allows, whether it was answered or not."""
    pause = len(content) * 8 / (BITS_A_SECOND / HOSTILE)
    over.wait(begins * pause)
    while not over.is_set():
        began = time.monotonic()
        with suppress(OSError):
            statuses[found.status(content)] += 1
        over.wait(max(0.0, pause - (time.monotonic() - began)))


def rate(found: Service, content: bytes | None, seconds: float) -> tuple[list[float], Counter]:
    """Seconds of each honest answer, and the statuses of the hostile ones."""
    over, took, statuses = threading.Event(), [], Counter()
    threads = [
        threading.Thread(target=honest_client, args=(found, over, took, word_image(n)), daemon=True)
        for n in range(HONEST)
    ]
    if content:
        threads += [
            threading.Thread(target=hostile_client, args=(found, over, content, statuses, n / HOSTILE), daemon=True)
            for n in range(HOSTILE)
        ]
    for thread in threads:
        thread.start()
    time.sleep(seconds)
    over.set()
    for thread in threads:
        thread.join(30)
    return took, statuses


def fairness() -> None:
    print(
        "| eight clients at 2 Mbit/s together | honest answers/s | of their rate alone | p50 ms | p99 ms | they get |"
    )
    print("|---|---|---|---|---|---|")
    with service("crnn_small", **LIMITS) as found:
        rate(found, None, 2)
        for name, make in {"nobody": None, **ATTACKS}.items():
            shares, took, statuses, content = [], [], Counter(), make() if make else None
            for _ in range(PAIRS):
                alone = len(rate(found, None, SECONDS)[0])
                seconds, got = rate(found, content, SECONDS)
                shares.append(len(seconds) / alone)
                took += seconds
                statuses += got
            cuts = statistics.quantiles(took, n=100)
            print(f"| {name} | {len(took) / SECONDS / PAIRS:.1f} | {statistics.median(shares):.0%} | "
                  f"{1e3 * cuts[49]:.0f} | {1e3 * cuts[98]:.0f} | {dict(statuses) or ''} |", flush=True)  # fmt: skip


def crowd(requests: int = 20_000, clients: int = 200, images: int = 400) -> None:
    """Every answer belongs to its request."""
    contents = [word_image(seed) for seed in range(images)]
    reader = Recogniser.load("crnn_small", device="CPU")
    expected = [(one.text, round(one.confidence, 3)) for one in reader(contents)]
    numbers, tally, took = itertools.count(), Counter(), []

    def client(found: Service) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", found.port, timeout=120)
        while (number := next(numbers)) < requests:
            while True:
                began = time.monotonic()
                connection.request("POST", "/recognise", contents[number % images], {"Content-Type": "image/png"})
                answer = connection.getresponse()
                said = json.loads(answer.read())
                if answer.status != 503:
                    break
                tally["told to come again"] += 1
                time.sleep(float(answer.headers["Retry-After"]))
            took.append(time.monotonic() - began)
            [word] = said["results"]
            text, confidence = expected[number % images]
            tally["right" if word["text"] == text and abs(word["confidence"] - confidence) < 0.01 else "wrong"] += 1

    with service("crnn_small", **LIMITS, requests=clients + 8) as found:
        began, memory = time.monotonic(), []
        threads = [threading.Thread(target=client, args=(found,), daemon=True) for _ in range(clients)]
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            time.sleep(2)
            memory.append(found.process.memory_info().rss / 1e6)
        seconds = time.monotonic() - began
    cuts = statistics.quantiles(took, n=100)
    print(f"{requests:,} requests of {clients} clients in {seconds:.0f} s: {dict(tally)}, "
          f"{requests / seconds:.0f}/s, p50 {1e3 * cuts[49]:.0f} ms, p99 {1e3 * cuts[98]:.0f} ms; memory "
          f"{memory[0]:.0f} MB at first, {max(memory):.0f} MB at most, {memory[-1]:.0f} MB at last")  # fmt: skip


if __name__ == "__main__":
    fairness()
    crowd()
