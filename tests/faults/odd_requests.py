"""Requests that are not quite HTTP, or not quite an image: for tests/faults/service.py."""

from __future__ import annotations

import random
from collections.abc import Iterator

from tests.faults.served import FILE, FORM, IMAGE, form, head, post
from tests.support.images import encoded, noise
from tests.support.mutated import BOMBS


def get(path: str, *lines: str, connection: str = "close") -> bytes:
    every = [f"GET {path} HTTP/1.1", "Host: localhost", f"Connection: {connection}", *lines]
    return "\r\n".join([*every, "", ""]).encode()


CHUNKED = "Transfer-Encoding: chunked"
CL = f"Content-Length: {len(IMAGE)}"
DOUBTFUL = {
    "length and chunks": head(CL, CHUNKED) + b"0\r\n\r\n" + get("/healthz"),
    "two lengths": head(CL, "Content-Length: 5") + IMAGE,
    "a length twice in a line": head(f"{CL}, {len(IMAGE)}") + IMAGE,
    "a negative length": head("Content-Length: -1") + IMAGE,
    "a length with a sign": head(f"Content-Length: +{len(IMAGE)}") + IMAGE,
    "a length beyond 64 bits": head("Content-Length: 99999999999999999999999") + IMAGE,
    "chunks of another name": head("Transfer-Encoding: xchunked") + IMAGE,
    "chunked, then identity": head("Transfer-Encoding: chunked, identity") + b"0\r\n\r\n",
    "a space before the colon": head(f"Content-Length : {len(IMAGE)}") + IMAGE,
    "a folded line": head("X: a", " b", CL) + IMAGE,
    "a bare line feed": head(CL).replace(b"\r\n", b"\n") + IMAGE,
    "a chunk of negative size": head(CHUNKED) + b"-5\r\nhello\r\n0\r\n\r\n",
    "a chunk beyond 64 bits": head(CHUNKED) + b"f" * 17 + b"\r\nhello\r\n0\r\n\r\n",
    "a chunk longer than said": head(CHUNKED) + b"3\r\nhello\r\n0\r\n\r\n",
    "HTTP/0.9": b"GET /\r\n\r\n",
    "HTTP/9.9": b"GET / HTTP/9.9\r\nHost: localhost\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a null in a header": head("X: a\0b", CL) + IMAGE,
    "no Host": post(IMAGE).replace(b"Host: 127.0.0.1\r\n", b""),
    "another's Host": post(IMAGE).replace(b"127.0.0.1", b"evil.example:80"),
    "a proxy's request": post(IMAGE, path="http://evil.example/recognise").replace(b"127.0.0.1", b"evil.example"),
    "CONNECT": b"CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example\r\n\r\n",
    "out of the page's folder": get("/../app.py"),
    "out of it, encoded": get("/%2e%2e/%2e%2e/serve.py"),
    "a null in the path": get("/%00"),
    "a path of 30 kB": get("/" + "a" * 30_000),
    "a form in no charset": post(form((FILE, b"x")), kind=FORM + "; charset=nonsense"),
    "a form that never ends": post(form((FILE, IMAGE))[:-6], kind=FORM),
    "a form without names": post(form(("X: y", b"x")), kind=FORM),
    "a form of another boundary": post(form((FILE, IMAGE), boundary="y"), kind=FORM),
    "a boundary of 60 kB": post(b"x", kind="multipart/form-data; boundary=" + "y" * 60_000),
    "a form in a form": post(form(("Content-Type: " + FORM, form((FILE, IMAGE)))), kind=FORM),
    "65 files": post(form(*[(FILE, encoded(noise(8, 8)))] * 65), kind=FORM),
    "1,000 fields": post(form(*[('Content-Disposition: form-data; name="a"', b"x")] * 1000), kind=FORM),
    "surrogates": post(b'{"images": ["\\ud800"]}', kind="application/json"),
    "a number of a million digits": post(b'{"images": [' + b"9" * 1_000_000 + b"]}", kind="application/json"),
    "100 megapixels": post(BOMBS["PNG of 65,000 x 65,000 px"]()),
}  # fmt: skip


def mutations(count: int, seed: int) -> Iterator[bytes]:
    """Requests of every kind, each with some of its bytes altered, doubled, cut out or cut off."""
    draw = random.Random(seed)
    small = encoded(noise(8, 8))
    good = [
        post(small),
        post(form((FILE, small), (FILE, small)), kind=FORM),
        post(b'{"images": ["aGVsbG8="]}', kind="application/json"),
        head(CHUNKED) + b"%x\r\n%b\r\n0\r\n\r\n" % (len(small), small),
        get("/icon.svg", "Range: bytes=0-9,5-"),
        get("/recognise?alternatives=2", "Upgrade: websocket", connection="upgrade"),
    ]
    marks = [
        b"\r\n",
        b"\0",
        b"%00",
        b"../",
        b"\xff",
        b"--x",
        b";",
        b":",
        b'"',
        b"chunked",
        b"9" * 40,
        b"-1",
        b" ",
        b"\n",
    ]
    for _ in range(count):
        request = bytearray(draw.choice(good))
        for _ in range(draw.randint(1, 4)):
            at, length = draw.randrange(len(request) + 1), draw.randint(0, 6)
            request[at : at + length] = draw.choice([*marks, draw.randbytes(3), bytes(request[at : at + length]) * 2])
        yield bytes(request[: draw.randrange(len(request))] if draw.random() < 0.1 else request)
