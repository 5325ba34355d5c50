"""The service, really started once for this module: what it answers, what it refuses, and that it lives on."""

from __future__ import annotations

import base64
import concurrent.futures
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bench.errors import UserError
from models import Recogniser
from models.serve import bracket_ipv6, listen
from tests.support import ROOT
from tests.support.checkpoints import saved
from tests.support.chromium import chromium
from tests.support.images import encoded, gif, noise, wide_png
from tests.support.service import HEAD, as_body, as_form, as_json, as_type, post, served

requests = pytest.importorskip("requests")
LIMITS = ["--limits.megabytes", "1", "--limits.pictures", "8", "--limits.upload-seconds", "1"]


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    return saved(tmp_path_factory.mktemp("served"))


@pytest.fixture(scope="module")
def service(weights):
    with served(weights, *LIMITS) as (_, url):
        yield url


@pytest.fixture(scope="module")
def reader(weights):
    return Recogniser.load(weights, device="CPU")


def test_no_part_of_an_answer_waits_for_the_clients_acknowledgement_of_another():
    """Nagle's algorithm and delayed acknowledgements together held every answer for 40 ms."""
    with listen("127.0.0.1", 0) as place, socket.create_connection(place.getsockname()):
        accepted, _ = place.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_it_answers_what_the_recogniser_reads(service, reader):
    expected = reader(noise())
    for request in (as_form, as_json, as_body):
        response = post(service, **request(encoded(noise())))
        assert response.status_code == 200, response.text
        [word] = response.json()["results"]
        assert word["text"] == expected.text
        assert word["confidence"] == pytest.approx(expected.confidence, rel=1e-4)
        assert [c["character"] for c in word["characters"]] == list(expected.text)
        assert [(c["left"], c["right"]) for c in word["characters"]] == expected.alignment
        assert [c["confidence"] for c in word["characters"]] == pytest.approx(expected.character_confidences, rel=1e-4)
        assert [a["text"] for a in word["alternatives"]] == [text for text, _ in expected.alternatives]


def test_many_pictures_keep_their_order(service, reader):
    pictures = [noise(seed=seed) for seed in range(8)]
    results = post(service, **as_form(*map(encoded, pictures))).json()["results"]
    assert [word["text"] for word in results] == [one.text for one in reader(pictures)]
    assert [word["name"] for word in results] == [f"{n}.png" for n in range(8)]


def test_alternatives_are_as_many_as_asked(service):
    url = f"{service}/recognise?alternatives="
    for most in (0, 2):
        [word] = requests.post(f"{url}{most}", timeout=20, **as_body(encoded(noise()))).json()["results"]
        assert len(word["alternatives"]) == most
    assert requests.post(f"{url}99", timeout=20, **as_body(encoded(noise()))).status_code == 422


BAD = {
    "no body": ({}, 415, "without a content type"),
    "an empty form": (as_type("multipart/form-data; boundary=x", b"--x--\r\n"), 400, "no image"),
    "a form without its boundary": (as_type("multipart/form-data", b"x"), 400, "boundary"),
    "an empty picture": (as_form(b""), 422, "empty"),
    "an empty body": (as_body(b""), 400, "no image"),
    "a page of text": (as_type("text/plain", b"hello"), 415, "cannot read text/plain"),
    "a PDF": (as_form(b"%PDF-1.7\n1 0 obj"), 422, "0.png: not an image"),
    "half a picture": (as_body(encoded(noise())[:2000]), 422, "not a whole image"),
    "an animated GIF": (as_body(gif()), 422, "GIF of several frames"),
    "100 megapixels": (as_body(wide_png()), 422, "10000 x 10000 px are too many"),
    "too large": (as_body(b"x" * 1_100_000), 413, "larger than 1 MB"),
    "too many": (as_json(*[encoded(noise(8, 8))] * 9), 413, "9 images are too many"),
    "not JSON": (as_type("application/json", b"{"), 400, "not JSON"),
    "JSON nested deeply": (as_type("application/json", b"[" * 200_000), 400, "not JSON"),
    "other JSON": ({"json": {"pictures": []}}, 400, '"images"'),
    "numbers": ({"json": {"images": [1, 2]}}, 400, '"images"'),
    "a list": ({"json": ["x"]}, 400, '"images"'),
    "one picture without its list": ({"json": {"images": "x" * 500}}, 400, "must be a list"),
    "not base64": ({"json": {"images": ["???"]}}, 400, "not base64"),
    "base64 with an accent": ({"json": {"images": ["é"]}}, 400, "not base64"),
    "JSON that is not UTF-8": (as_type("application/json", b'{"images": ["\xff"]}'), 400, "not JSON"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_bad_input_gets_a_clear_answer(name, service):
    request, status, reason = BAD[name]
    response = post(service, **request)
    assert response.status_code == status, response.text
    assert reason in response.json()["detail"]
    assert "Traceback" not in response.text
    assert requests.get(f"{service}/healthz", timeout=5).json()["status"] == "ok"


def test_base64_is_read_as_clients_write_it(service, reader):
    """In lines of 76 (base64 FILE, Python's encodebytes), URL-safe without padding, after a data URI."""
    content = encoded(noise())
    url_safe = base64.urlsafe_b64encode(content).decode().rstrip("=")
    for text in (base64.encodebytes(content).decode(), url_safe, f"data:image/png;base64,{url_safe}"):
        response = post(service, json={"images": [text]})
        assert response.status_code == 200, response.text
        assert response.json()["results"][0]["text"] == reader(noise()).text


def test_health_answers_to_head_too(service):
    response = requests.head(f"{service}/healthz", timeout=5)
    assert (response.status_code, response.text) == (200, "")


def test_a_picture_without_text_is_an_answer(service):
    [word] = post(service, **as_body(encoded(np.full((32, 100, 3), 255, np.uint8)))).json()["results"]
    assert len(word["characters"]) == len(word["text"])


def raw(service: str, content: bytes, wait: float = 0) -> bytes:
    """What a socket hears after these bytes; nothing when it hangs up at once."""
    host, port = service.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(content)
        return connection.recv(4096) if wait else b""


def test_a_slow_request_is_ended(service):
    began = time.monotonic()
    assert b" 408 " in raw(service, HEAD + b"half", wait=True)
    assert time.monotonic() - began < 5


def test_a_request_cut_off_hurts_nobody(service, reader):
    for _ in range(5):
        raw(service, HEAD + b"half")
    assert post(service, **as_body(encoded(noise()))).json()["results"][0]["text"] == reader(noise()).text


def test_other_paths_and_methods_are_refused(service):
    assert requests.get(f"{service}/nothing", timeout=5).status_code == 404
    assert requests.get(f"{service}/recognise", timeout=5).status_code == 405


def test_prometheus_is_told(service):
    post(service, **as_body(encoded(noise())))
    lines = requests.get(f"{service}/metrics", timeout=5).text.splitlines()
    values = dict(line.rsplit(" ", 1) for line in lines if line and line[0] != "#")
    assert float(values['crnn_requests_total{path="/recognise",status="200"}']) >= 1
    assert float(values["crnn_pictures_total"]) >= 1
    assert float(values["crnn_batch_pictures_count"]) >= 1
    assert float(values["crnn_waiting_pictures"]) == 0


def test_the_api_is_described_and_its_page_needs_no_network(service):
    schema = requests.get(f"{service}/openapi.json", timeout=5).json()
    assert set(schema["paths"]) == {"/recognise", "/healthz"}
    assert {"multipart/form-data", "application/json"} <= set(
        schema["paths"]["/recognise"]["post"]["requestBody"]["content"]
    )
    page = requests.get(f"{service}/docs", timeout=5).text
    assert "https://" not in page
    for name in re.findall(r'(?:src|href)="(.+?)"', page):
        assert requests.get(f"{service}/{name}", timeout=5).status_code == 200


def test_overload_is_answered_and_sigterm_drains(weights, reader):
    """Of 60 requests at a service that takes 8, each is answered right or asked to come again; then it is told to end
    with pictures in hand, and answers those before it does."""
    pictures = [encoded(noise(seed=seed)) for seed in range(6)]
    expected = [one.text for one in reader(pictures)]
    patient = ("--limits.answer-seconds", "60", "--limits.drain-seconds", "60")  # 240 readings on a busy machine
    with served(weights, "--limits.requests", "8", "--batch-size", "4", *patient) as (server, url):
        with concurrent.futures.ThreadPoolExecutor(30) as pool:
            found = list(pool.map(lambda n: post(url, **as_form(pictures[n % 6])), range(60)))
        assert {response.status_code for response in found} <= {200, 503}
        for n, response in enumerate(found):
            if response.status_code == 200:
                assert response.json()["results"][0]["text"] == expected[n % 6]
            else:
                assert response.headers["Retry-After"] == "1" and "busy" in response.json()["detail"]
        last = drained(server, url, pictures * 8)
        assert [word["text"] for word in last.json()["results"]] == expected * 8
        assert server.wait(20) == 0


def drained(server: subprocess.Popen, url: str, pictures: list[bytes]) -> requests.Response:
    """The answer to a request that had begun to arrive when the service was told to end."""
    request = requests.Request("POST", f"{url}/recognise", **as_form(*pictures)).prepare()

    def halves():
        yield request.body[: len(request.body) // 2]
        server.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        yield request.body[len(request.body) // 2 :]

    return requests.post(
        request.url, data=halves(), headers={"Content-Type": request.headers["Content-Type"]}, timeout=60
    )


def test_a_place_that_is_taken_is_one_clear_line(service, weights):
    port = service.rpartition(":")[2]
    command = [sys.executable, "-m", "models.serve", "--weights", str(weights), "--port", port, "--device", "CPU"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert done.stderr == f"models.serve: error: cannot listen on 127.0.0.1:{port}: Address already in use\n"


@pytest.mark.parametrize("port", [-1, 65536, 70000, 10**20])
def test_a_port_that_is_none_is_refused(port):
    with pytest.raises(UserError, match=f"--port is 0 to 65535, not {port}"):
        listen("127.0.0.1", port)


def test_a_browser_opens_the_address_that_is_printed(weights):
    try:
        listen("::1", 0).close()
    except UserError:
        pytest.skip("this host has no IPv6")
    with served(weights, "--host", "::1") as (_, url):
        assert url.startswith("http://[::1]:")
        assert requests.get(f"{url}/healthz", timeout=5).json()["status"] == "ok"


def test_only_a_host_with_colons_is_bracketed():
    assert [bracket_ipv6(host) for host in ("::1", "127.0.0.1", "a.example")] == ["[::1]", "127.0.0.1", "a.example"]


@pytest.fixture(scope="module")
def browser():
    """Chromium, whose console must be silent after the tests."""
    with chromium("--blink-settings=preferredColorScheme=0") as driver:
        yield driver


def wait_for(browser, script: str):
    for _ in range(100):
        if found := browser.execute_script(f"return {script}"):
            return found
        time.sleep(0.1)
    raise AssertionError(f"never true: {script}")


def test_a_person_drops_pictures_and_sees_words(browser, service, reader, tmp_path):
    pictures = [noise(seed=seed) for seed in range(3)]
    for n, picture in enumerate(pictures):
        Image.fromarray(picture).save(tmp_path / f"{n}.png")
    browser.get(f"{service}/")
    assert browser.get_log("browser") == []
    files = "\n".join(str(tmp_path / f"{n}.png") for n in range(3))
    browser.find_element("id", "files").send_keys(files)
    wait_for(browser, "document.getElementById('said').textContent === '3 read'")
    shown = [one.text for one in browser.find_elements("css selector", "#words output")]
    expected = [one.text or "(nothing)" for one in reader(pictures)]
    assert shown == expected[::-1]
    [*letters] = browser.find_elements("css selector", "#words li:last-child .marks span")
    lefts = [float(letter.value_of_css_property("left").removesuffix("px")) for letter in letters]
    assert len(letters) == len(expected[0]) and lefts == sorted(lefts)
    assert browser.execute_script("return document.querySelector('#words img').naturalWidth") == 120
    assert browser.get_log("browser") == []


def test_it_says_what_is_wrong_with_a_file(browser, service, tmp_path):
    (tmp_path / "<b>.png").write_text("hello")
    browser.get(f"{service}/")
    browser.find_element("id", "files").send_keys(str(tmp_path / "<b>.png"))
    wait_for(browser, "document.querySelector('#words .wrong output')")
    assert "not an image" in browser.find_element("css selector", "#words output").text
    browser.get_log("browser")  # which tells of the 422


def test_the_page_is_dark_for_who_likes_it_and_never_too_wide(browser, service):
    browser.get(f"{service}/")
    assert browser.execute_script("return getComputedStyle(document.body).backgroundColor") == "rgb(15, 19, 24)"
    browser.set_window_size(500, 700)
    assert browser.execute_script("return document.documentElement.scrollWidth <= innerWidth")


def test_the_page_asks_no_other_host():
    for file in (ROOT / "models" / "serving" / "page").iterdir():
        content = file.read_text().replace("http://www.w3.org/2000/svg", "")
        assert "http" not in content.replace("http-equiv", ""), file
    assert "default-src 'none'" in (ROOT / "models/serving/page/index.html").read_text()


def test_without_the_packages_it_says_what_to_install(weights):
    code = "import sys; sys.modules['uvicorn'] = None; from models import serve; serve.main(['--weights', sys.argv[1]])"
    done = subprocess.run([sys.executable, "-c", code, str(weights)], cwd=ROOT, capture_output=True, text=True)
    assert "serving needs uvicorn: pip install -r requirements-serve.txt" in done.stderr
