"""Connections of a service that is really started: who is slow, endless, one too many or calls it another's name.

`python -m tests.faults.service` tries the same with crowds.
"""

from __future__ import annotations

import json
import re
import socket
import time

import numpy as np
import pytest

pytest.importorskip("uvicorn")
import psutil

from bench.errors import UserError
from models.data.image import Shape
from models.serve import ServeOptions, allowed_hosts
from models.serving import decoding
from tests.support.checkpoints import saved
from tests.support.images import encoded, noise
from tests.support.service import HEAD, as_form, as_json, post, requests, served

PATIENCE_S = 0.5
LIMITS = {"upload-seconds": PATIENCE_S, "answer-seconds": 1, "connections": 10, "requests": 3}
CHUNKS = HEAD.replace(b"Content-Length: 1000", b"Transfer-Encoding: chunked\r\nConnection: close")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("served")
    weights = saved(folder)
    words = [word for name, value in LIMITS.items() for word in (f"--limits.{name}", str(value))]
    with (folder / "said").open("w") as said, served(weights, *words, said=said) as found:
        yield *found, folder / "said"


@pytest.fixture
def service(server):
    """Where it is; after each test it must answer, and have printed nothing."""
    yield server[1]
    assert requests.get(f"{server[1]}/healthz", timeout=5).json()["status"] == "ok"
    assert server[2].read_text() == ""


def connect(service: str) -> socket.socket:
    host, port = service.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=10)


def heard(service: str, *parts: bytes, pause_s: float = 0.0) -> tuple[bytes, float]:
    """All that a client hears who sends these parts and the last one again and again; and after how many seconds it
    was hung up on.
    """
    found, began = b"", time.monotonic()
    with connect(service) as connection:
        connection.settimeout(pause_s or 0.001)
        parts = iter([*parts, *parts[-1:] * 100_000])
        while True:
            try:
                connection.sendall(next(parts))
                if not (some := connection.recv(65_536)):
                    break
                found += some
            except TimeoutError:
                continue
            except (ConnectionError, StopIteration):
                break
    return found, time.monotonic() - began


SLOW = {
    "headers": (b" 408 ", b"GET / HTTP/1.1\r\nX: ", b"x"),
    "lines": (b" 408 ", b"\r\n", b"\r\n"),
    "a body": (b" 408 ", HEAD, b"x"),
    "a body that nobody reads": (b" 405 ", HEAD.replace(b"/recognise", b"/"), b"x"),
}


@pytest.mark.parametrize("name", SLOW)
def test_a_slow_client_is_ended(name, service):
    status, *parts = SLOW[name]
    said, took = heard(service, *parts, pause_s=0.05)
    assert status in said[:20] and said.count(b"HTTP/1.1") == 1
    assert took < 2 * PATIENCE_S + 5  # its answer comes, and then as much time again; machines are busy


@pytest.mark.parametrize("before", [b"", b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"], ids=["first", "second"])
def test_who_sends_half_a_request_and_then_nothing_is_told(before, service):
    """All in one packet: what begins the request is the last that comes."""
    with connect(service) as connection:
        connection.sendall(before + b"GET / HTTP/1.1\r\nHost: x")
        said = b"".join(iter(lambda: connection.recv(65_536), b""))
    assert re.findall(rb"HTTP/1.1 (\d+)", said) == [b"200"] * bool(before) + [b"408"]


def test_a_silent_client_is_hung_up_on_without_a_word(service):
    began = time.monotonic()
    with connect(service) as connection:
        assert connection.recv(100) == b""
    assert PATIENCE_S * 0.8 < time.monotonic() - began < PATIENCE_S + 5


ENDLESS = {
    "a path": (b"GET /", b"x" * 10_000),
    "a header": (b"GET / HTTP/1.1\r\nX: ", b"x" * 10_000),
    "headers": (b"GET / HTTP/1.1\r\n", b"X: y\r\n" * 2_000),
    "trailers": (CHUNKS + b"0\r\n", b"X: y\r\n" * 2_000),
    "marks of chunks": (CHUNKS, b"1\r\nx\r\n" * 2_000),
}
ODD = b"--x\r\nContent\xff-Disposition: form-data\r\n\r\nx\r\n--x--\r\n"


@pytest.mark.parametrize("name", ENDLESS)
def test_what_never_becomes_a_body_is_bounded(name, service):
    assert b" 431 " in heard(service, *ENDLESS[name])[0][:20]


def test_an_odd_form_is_not_printed(service):
    response = requests.post(
        f"{service}/recognise", data=ODD, headers={"Content-Type": "multipart/form-data; boundary=x"}, timeout=20
    )
    assert response.status_code == 400


def test_chunks_of_a_usual_size_pass(service):
    picture = encoded(noise(200, 600))
    parts = (picture[at : at + 16] for at in range(0, len(picture), 16))
    response = requests.post(f"{service}/recognise", data=parts, headers={"Content-Type": "image/png"}, timeout=20)
    assert len(picture) > 300_000 and response.status_code == 200, response.text


def test_one_connection_too_many_is_told(service):
    held = [connect(service) for _ in range(LIMITS["connections"])]
    try:
        response = post(service, **as_form(encoded(noise())))
        assert response.status_code == 503 and response.headers["Retry-After"] == "1"
        assert "too many connections" in response.json()["detail"]
        time.sleep(PATIENCE_S + 0.3)
        assert post(service, **as_form(encoded(noise()))).status_code == 200
    finally:
        for connection in held:
            connection.close()


def test_one_request_too_many_is_told(service):
    """Those that are still arriving count, too."""
    for _ in range(5):  # on a busy machine they may be over before the next one comes
        held = [connect(service) for _ in range(LIMITS["requests"])]
        for connection in held:
            connection.sendall(HEAD + b"half")
        response = post(service, **as_form(encoded(noise())))
        for connection in held:
            connection.close()
        if response.status_code == 503:
            break
    assert response.status_code == 503 and "busy" in response.json()["detail"]


def test_an_answer_that_nobody_takes_is_dropped(service, server):
    process = psutil.Process(server[0].pid)
    before = process.num_fds()
    with connect(service) as connection:
        connection.sendall(b"GET /swagger/swagger-ui-bundle.js HTTP/1.1\r\nHost: localhost\r\n\r\n" * 5)
        time.sleep(PATIENCE_S / 2)
        assert process.num_fds() > before
        time.sleep(PATIENCE_S + 0.5)
        assert process.num_fds() <= before


def test_pictures_that_take_too_long_to_decode_are_refused(service):
    """30 megapixels in 33 kB: their decoding, too, is part of the time that an answer may take."""
    large = encoded(np.full((5000, 6000), 255, np.uint8))
    began = time.monotonic()
    response = post(service, **as_form(*[large] * 64))
    assert response.status_code == 503 and "busy" in response.json()["detail"]
    assert time.monotonic() - began < 10
    while post(service, **as_form(encoded(noise()))).status_code != 200:
        assert time.monotonic() - began < 20


def test_too_many_pictures_are_refused_before_any_is_decoded(monkeypatch):
    monkeypatch.setattr(decoding.base64, "b64decode", lambda *_, **__: pytest.fail("decoded"))
    how = decoding.Decode(Shape(), widths=True, views=True, most_pixels=1000, most_images=1)
    body = json.dumps({"images": ["", ""]}).encode()
    refused = decoding.decode_request("application/json", body, how, 60, True)
    assert refused == decoding.Refused(413, "2 images are too many: 1 at most in a request")


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1:8000", "[::1]", "LOCALHOST:1"])
def test_it_answers_to_its_own_names(name, service):
    response = requests.get(f"{service}/healthz", headers={"Host": name}, timeout=5)
    assert response.status_code == 200


@pytest.mark.parametrize("name", ["evil.example", "127.0.0.1.evil.example", "localhost@evil.example", "", "evil:80"])
def test_a_page_elsewhere_cannot_lend_it_its_name(name, service):
    """DNS rebinding: evil.example suddenly is 127.0.0.1, and its page may read what this host answers."""
    for path in ("healthz", "metrics", ""):
        response = requests.get(f"{service}/{path}", headers={"Host": name}, timeout=5)
        assert response.status_code == 400 and "ost header" in response.text
    headers = {"Host": name}
    assert requests.post(f"{service}/recognise", headers=headers, timeout=5, **as_json(b"x")).status_code == 400


def test_who_may_call_it_what():
    assert ServeOptions().host == "127.0.0.1"
    own = ["localhost", "127.0.0.1", "[::1]", "127.0.0.1"]
    assert allowed_hosts([], "127.0.0.1") == own
    assert allowed_hosts(["words.example"], "127.0.0.1") == [*own, "words.example"]
    assert allowed_hosts([], "0.0.0.0") == ["*"]
    assert allowed_hosts(["*.example"], "::") == ["*.example"]
    with pytest.raises(UserError, match="is no name"):
        allowed_hosts(["a*b"], "0.0.0.0")
