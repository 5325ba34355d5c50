"""Requests that would hold the service up: each is answered soon, and others' requests and /healthz meanwhile."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time

import numpy as np
import psutil
import pytest

pytest.importorskip("uvicorn")
from models.data.image import Shape
from models.serving.browsers import HEADERS, OriginGuard
from models.serving.decoding import Decode, DecodedImage, Refused, decode_request
from tests.support import ROOT
from tests.support.checkpoints import saved
from tests.support.images import encoded, noise
from tests.support.service import as_body, as_form, as_type, post, requests, served
from tests.support.stalls import PICTURES

WAIT_S = 3  # for an honest answer; on an idle machine it takes 0.1 s, and these are not
FORM = "multipart/form-data; boundary=x"
HOW = Decode(Shape(), widths=True, views=True, most_pixels=32_000_000, most_images=64)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("served")
    with (folder / "said").open("w") as said, served(saved(folder), "--limits.decode-seconds", "1", said=said) as found:
        yield *found, folder / "said"


@pytest.fixture
def service(server):
    """Where it is; after each test it must answer, and have printed nothing."""
    yield server[1]
    assert requests.get(f"{server[1]}/healthz", timeout=5).json()["status"] == "ok"
    assert post(server[1], **as_body(encoded(noise()))).status_code == 200
    assert server[2].read_text() == ""


def field(content: bytes, disposition: str = 'name="a"') -> bytes:
    return f"--x\r\nContent-Disposition: form-data; {disposition}\r\n\r\n".encode() + content + b"\r\n--x--\r\n"


LONG_NAME = f'name="a"; filename="{"a" * 60_000}"'
BODIES = {
    **{name: (lambda make=make: as_type("image/x", make())) for name, make in PICTURES.items()},
    "a form in punycode": lambda: as_type(f"{FORM}; charset=punycode", field(b"a" * 1_000_000)),
    "a file's name in punycode": lambda: as_type(f"{FORM}; charset=punycode", field(b"x", LONG_NAME)),
    "JSON of lists": lambda: as_type("application/json", b'{"images": [' + b"[]," * 5_000_000 + b"[]]}"),
    "JSON of empty strings": lambda: as_type("application/json", b'{"images": [' + b'"",' * 5_000_000 + b'""]}'),
    "JSON of a million digits": lambda: as_type("application/json", b'{"images": [' + b"9" * 1_000_000 + b"]}"),
    "64 images of 31 megapixels": lambda: as_form(*[encoded(np.full((5600, 5600), 255, np.uint8))] * 64),
}  # fmt: skip


@pytest.mark.parametrize("name", PICTURES)
def test_no_picture_is_walked_through_to_say_what_is_wrong(name):
    """Without the processes' time limit: what is known to take long is refused by its first bytes."""
    content, began = PICTURES[name](), time.process_time()
    refused = decode_request("image/x", content, HOW, 60, True)
    assert isinstance(refused, Refused) and refused.status == 422, refused
    assert time.process_time() - began < 2.5  # of walks that took 8 to 160 s


@pytest.mark.parametrize("name", BODIES)
def test_others_are_answered_while_a_body_is_hard_to_read(name, service):
    body, over, slowest = BODIES[name](), threading.Event(), [0.0, 0.0]

    def honest() -> None:
        while not over.is_set():
            for place, ask in enumerate((lambda: requests.get(f"{service}/healthz", timeout=30),
                                         lambda: post(service, **as_body(encoded(noise()))))):  # fmt: skip
                began = time.monotonic()
                assert ask().status_code == 200
                slowest[place] = max(slowest[place], time.monotonic() - began)

    asking = threading.Thread(target=honest)
    asking.start()
    try:
        status = post(service, **body).status_code
    finally:
        over.set()
        asking.join()
    assert status in (400, 413, 422, 503)
    assert max(slowest) < WAIT_S, slowest


@pytest.mark.parametrize(
    "codec", ["undefined", "idna", "utf-7", "unicode_escape", "utf-16", "punycode", "rot13", "hex"]
)
def test_no_codec_is_the_clients_choice(codec, service):
    """Names are UTF-8 or what is left of it; an idna of 'a..b' or half a pair in UTF-7 were a 500."""
    for name in ("a.png", "+2AA-.png", "a..b", r"\ud800.png", "é.png"):
        body = field(encoded(noise()), f'name="images"; filename="{name}"')
        response = post(service, **as_type(f"{FORM}; charset={codec}", body))
        assert response.status_code == 200 and response.json()["results"][0]["name"] == name


def test_a_field_that_is_no_file_is_refused_with_the_way_out():
    refused = decode_request(FORM, field(b"word.png", 'name="images"'), HOW, 5, True)
    assert refused == Refused(400, "the field 'images' of the form is no file (curl -F images=@FILE sends one)")


@pytest.mark.parametrize("boundary", ["", '"x; charset=punycode', "x" * 71, "x\\"])
def test_a_boundary_that_is_none_is_refused(boundary):
    refused = decode_request(f"multipart/form-data; boundary={boundary}", field(b""), HOW, 5, True)
    assert isinstance(refused, Refused) and refused.status == 400
    assert "without a boundary" in refused.detail  # before a parser sees it


def test_large_files_of_a_form_need_no_temporary_folder(tmp_path):
    """A full /tmp was a 500."""
    picture = encoded(noise(900, 1000))
    assert len(picture) > 2_000_000
    with served(saved(tmp_path), env={"TMPDIR": "/nonexistent"}) as (_, url):
        assert post(url, **as_form(picture)).status_code == 200


def test_images_that_are_more_work_than_their_bytes_go_to_the_second_lane():
    white = encoded(np.full((3000, 3000), 255, np.uint8))
    assert decode_request("image/png", white, HOW, 60, True) is None
    assert isinstance(decode_request("image/png", white, HOW, 60, False)[0], DecodedImage)
    assert isinstance(decode_request("image/png", encoded(noise(300, 300)), HOW, 60, True)[0], DecodedImage)


def test_a_process_that_dies_takes_one_request_with_it(server, service):
    """As a decoder that crashes does."""
    for _ in range(3):
        workers = [one for one in psutil.Process(server[0].pid).children(recursive=True) if one.name() != "sleep"]
        for worker in workers:
            if "forkserver" in " ".join(worker.cmdline()) and worker.children() == []:
                worker.send_signal(signal.SIGSEGV)
        statuses = [post(service, **as_body(encoded(noise()))).status_code for _ in range(5)]
        assert set(statuses) <= {200, 422, 503} and statuses[-1] == 200, statuses


FOREIGN = {
    "another site": {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"},
    "another port": {"Origin": "http://localhost:3000", "Sec-Fetch-Site": "same-site"},
    "a sandboxed page": {"Origin": "null"},
    "no Origin, but a browser": {"Sec-Fetch-Site": "cross-site"},
    "an Origin that is none": {"Origin": "http://[", "Sec-Fetch-Site": "cross-site"},
}


@pytest.mark.parametrize("name", FOREIGN)
def test_a_page_of_another_origin_makes_it_do_nothing(name, service):
    response = requests.post(f"{service}/recognise", data=encoded(noise()), timeout=20,
                             headers={"Content-Type": "image/png", **FOREIGN[name]})  # fmt: skip
    assert response.status_code == 403 and "another origin" in response.json()["detail"]


def test_its_own_page_and_the_page_of_a_proxys_name_may_send(service):
    own = {"Content-Type": "image/png", "Origin": service, "Sec-Fetch-Site": "same-origin"}
    assert requests.post(f"{service}/recognise", data=encoded(noise()), headers=own, timeout=20).status_code == 200
    guard = OriginGuard(None, ["words.example"])
    assert guard.is_own({"origin": "https://words.example", "host": "127.0.0.1:8000"})
    assert not guard.is_own({"origin": "https://words.example.evil", "host": "127.0.0.1:8000"})


@pytest.mark.parametrize(
    "path", ["", "healthz", "docs", "openapi.json", "nothing", "recognise", "swagger/swagger-ui.css"]
)
def test_every_answer_has_the_headers_that_browsers_heed(path, service):
    response = requests.get(f"{service}/{path}", timeout=5)
    assert {name: response.headers.get(name) for name, _ in HEADERS} == dict(HEADERS)
    assert "server" not in response.headers


def test_what_is_no_http_has_them_too(service):
    host, port = service.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(b"\x16\x03\x01\r\n\r\n")
        assert b"nosniff" in connection.recv(65_536)


def test_pipelined_requests_are_bounded(server, service):
    """60,000 of them were 10 MB a connection; who sends more than wait is hung up on, a few are answered in order."""
    host, port = service.removeprefix("http://").split(":")
    few = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(few * 4 + few.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        heard = b"".join(iter(lambda: connection.recv(65_536), b""))
    assert heard.count(b"HTTP/1.1 200 OK") == 5
    before = psutil.Process(server[0].pid).memory_info().rss
    for _ in range(5):
        with socket.create_connection((host, int(port)), timeout=10) as connection:
            heard = b""
            try:
                connection.sendall(few * 60_000)
                while some := connection.recv(65_536):
                    heard += some
            except ConnectionError:
                pass
            assert heard.count(b"HTTP/1.1 200") < 60_000
    assert psutil.Process(server[0].pid).memory_info().rss - before < 20e6


def test_requests_that_are_held_at_once_are_bounded(tmp_path):
    limits = ("--limits.held-megabytes", "1", "--limits.megabytes", "1", "--limits.upload-seconds", "5")
    with served(saved(tmp_path), *limits) as (_, url):
        host, port = url.removeprefix("http://").split(":")
        head = (
            b"POST /recognise HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\nContent-Length: 900000\r\n\r\n"
        )
        with socket.create_connection((host, int(port)), timeout=10) as half:
            half.sendall(head + bytes(800_000))
            time.sleep(0.5)
            assert post(url, **as_type("image/png", bytes(900_000))).status_code == 503
        time.sleep(0.5)
        assert post(url, **as_type("image/png", bytes(900_000))).status_code == 422


HANGS = """
import asyncio, sys, time, uvicorn
from models.serving.ending import EndingServer
async def app(scope, receive, send):
    if scope["type"] == "http":
        print("hanging", flush=True)
        await asyncio.get_running_loop().run_in_executor(None, time.sleep, 120)
config = uvicorn.Config(app, port=0, log_level="error", lifespan="off")
import signal, socket
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
place = socket.create_server(("127.0.0.1", 0))
print(place.getsockname()[1], flush=True)
EndingServer(config, 2).run(sockets=[place])
"""


def test_sigterm_ends_it_in_time_whatever_hangs():
    """A thread that does not come back kept the process alive for 90 s and more."""
    command = [sys.executable, "-c", HANGS]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        try:
            port = int(process.stdout.readline())
            with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
                connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
                assert process.stdout.readline() == "hanging\n"
                time.sleep(0.1)
                process.send_signal(signal.SIGTERM)
                assert process.wait(15) == 0
        finally:
            process.kill()


def test_the_apis_description_tells_the_truth(service):
    """schemathesis sends what the description allows and what it does not. Whether bytes are an image no schema can
    say, so that a refusal of bytes that are none is no finding.
    """
    pytest.importorskip("schemathesis")
    command = [sys.executable, "-c", "from schemathesis.cli import schemathesis; schemathesis()", "run",
               f"{service}/openapi.json", "--max-examples", "15", "--request-timeout", "20", "--seed", "1",
               "--phases", "examples,coverage,fuzzing", "--exclude-checks", "positive_data_acceptance"]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, cwd=os.environ.get("TMPDIR", "/tmp"))
    assert done.returncode == 0, done.stdout[-3000:]
    assert "2 selected / 2 total" in done.stdout


def test_limits_have_bounds():
    from bench.errors import UserError
    from models.serve import COMMAND

    nonsense = ["requests=-1", "requests=0", "megabytes=-1", "megabytes=nan", "megapixels=0", "pictures=0",
                "upload-seconds=nan", "upload-seconds=-1", "answer-seconds=0", "connections=0", "waiting=0",
                "drain-seconds=-1", "decode-seconds=0", "held-megabytes=inf", "megabytes=1e9"]  # fmt: skip
    for one in nonsense:
        name, value = one.split("=")
        with pytest.raises(UserError):
            COMMAND.parse([f"--limits.{name}", value])


def test_random_bytes_never_break_the_parsers():
    draw = random.Random(3)
    files = field(encoded(noise(8, 8)), 'name="images"; filename="a.png"')
    good = [(FORM, files), ("application/json", json.dumps({"images": ["aGk="]}).encode())]
    for _ in range(300):
        kind, body = draw.choice(good)
        broken = bytearray(body)
        for _ in range(draw.randint(1, 5)):
            at = draw.randrange(len(broken))
            broken[at : at + draw.randint(0, 3)] = draw.randbytes(draw.randint(0, 3))
        found = decode_request(kind, bytes(broken), HOW, 20, True)
        assert isinstance(found, list | Refused), found
