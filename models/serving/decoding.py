"""A request's body to images, in processes that may be killed: whatever a body does to a parser or a decoder, the
service and the others' requests go on.

Two lanes. What is small by its header is decoded in the first, in `FIRST_SECONDS` of a processor's time; what is large
for its bytes, or takes longer, in the second, of one process of a low priority, in `--limits.decode-seconds`. Nothing
here imports torch, so that another process is there in a moment.
"""

from __future__ import annotations

import asyncio
import base64
import gc
import json
import logging
import multiprocessing
import os
import re
import resource
import signal
from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import BrokenExecutor
from concurrent.futures import TimeoutError as PoolTimeout
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import cv2
import simplejpeg
from pebble import ProcessExpired, ProcessPool
from python_multipart.multipart import parse_options_header
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from bench.errors import plain
from models.data.files import UnreadableError
from models.data.image import Shape, load_image, open_image
from models.reading.views import ImageView, views_of
from models.serving.rotation import Turns

T = TypeVar("T")
FIRST_SECONDS = 0.25
FIRST_WAIT_SECONDS = 2  # by the clock: a busy machine makes nobody's image a large one
PIPED = 1 << 16  # bytes of a body
ALWAYS_FIRST = 1 << 16  # pixels of an image that is small whatever its bytes: a millisecond
PIXELS_A_BYTE = 40  # of an image that is no more work than its bytes let expect: a photograph has 4 to 20
MEMORY = 2 << 30  # bytes of a process that decodes: 32 megapixels in four channels, a few times over
BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,./:=? -]{1,70}")  # RFC 2046
FROM_URL_SAFE = str.maketrans("-_", "+/")
FAMILIES = ("multipart/form-data", "application/json", "application/octet-stream")
BUSY = "busy: try again in a second"
TYPES = "multipart/form-data, application/json with base64, or one image as image/*"


@dataclass(frozen=True)
class Refused:
    """Why a request gets another answer."""

    status: int
    detail: str


@dataclass(frozen=True)
class DecodedImage:
    """An image of a request."""

    name: str
    views: list[ImageView]


@dataclass(frozen=True)
class Decode:
    """How images are decoded, for whom they are meant."""

    shape: Shape
    widths: bool  # see views_of
    views: bool
    most_pixels: int
    most_images: int
    whole: bool = False  # the image itself in RGB, in which lines are looked for


DIED = Refused(422, "not an image that can be read: its decoder died of it")


class Misfit(Exception):
    """Raised where a body is parsed; arguments: status and detail."""


def family(content_type: str) -> str:
    """What kind of body it is. Misfit: 415."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind in FAMILIES:
        return kind
    if kind.startswith("image/"):
        return FAMILIES[2]
    raise Misfit(415, f"cannot read {plain(kind) or 'a request without a content type'}: send {TYPES}")


def decode_request(
    content_type: str, body: bytes | Path, how: Decode, seconds: float, first: bool
) -> list[DecodedImage] | Refused | None:
    """The images of a request, or why not. None: too much for the first lane. After so many seconds of a processor's
    time the process is ended by SIGPROF.
    """
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        body = body.read_bytes() if isinstance(body, Path) else body
        sent = READERS[family(content_type)](content_type, body, how.most_images)
        if not sent:
            return Refused(400, f"no image in the request: send {TYPES}")
        if first and any(not is_small(content) for _, content in sent):
            return None
        return [DecodedImage(name, decode_one(name, content, how)) for name, content in sent]
    except Misfit as misfit:
        return Refused(*misfit.args)
    except (MemoryError, RecursionError):
        return Refused(413, "the request needs too much memory to be read")
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def decode_one(name: str, content: bytes, how: Decode) -> list[ImageView]:
    try:
        if how.whole:
            return [ImageView(load_image(content, 3, how.most_pixels))]
        views = views_of(content, how.shape, how.widths, how.most_pixels)
    except UnreadableError as error:
        raise Misfit(422, f"{name or 'the image'}: {error}") from None
    return views if how.views else views[:1]


def is_small(encoded: bytes) -> bool:
    """Whether an image is decoded soon, by its header; one that has none is refused soon."""
    try:
        height, width, *_ = simplejpeg.decode_jpeg_header(encoded)
    except ValueError:
        try:
            with open_image(encoded, 1 << 62) as image:
                width, height = image.size
        except UnreadableError:
            return True
    return bool(height * width <= max(ALWAYS_FIRST, PIXELS_A_BYTE * len(encoded)))


def files_of_form(content_type: str, body: bytes, most: int) -> list[tuple[str, bytes]]:
    """Names and contents. Of what the client says of the form only the boundary counts: no codec is its choice."""
    boundary = (
        parse_options_header(content_type.encode("latin-1", "replace"))[1].get(b"boundary", b"").decode("latin-1")
    )
    if not BOUNDARY.fullmatch(boundary):
        raise Misfit(400, "a form without a boundary of 1 to 70 of the characters that one may have")
    header = (b"content-type", f'multipart/form-data; boundary="{boundary}"'.encode())
    sent = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive() -> Any:
        return sent.pop()

    async def files() -> list[tuple[str, bytes]]:
        request = Request({"type": "http", "method": "POST", "headers": [header]}, receive)
        async with request.form(max_files=most, max_fields=most) as form:
            for name, part in form.multi_items():
                if not isinstance(part, UploadFile):
                    said = plain(name[:40])
                    raise Misfit(400, f"the field {said!r} of the form is no file (curl -F {said}=@FILE sends one)")
            parts = [part for _, part in form.multi_items() if isinstance(part, UploadFile)]
            return [(file_name(part.filename), await part.read()) for part in parts]

    try:
        return asyncio.run(files())
    except MultiPartException as error:
        raise Misfit(413 if "Too many files" in error.message else 400, error.message) from None
    except ValueError as error:
        raise Misfit(400, f"not a form: {plain(str(error)[:200])}") from None


def file_name(name: str | None) -> str:
    """As it is said again: half of a pair of UTF-16 cannot be written."""
    return plain((name or "").encode("utf-8", "replace").decode())


def images_of_json(content_type: str, body: bytes, most: int) -> list[tuple[str, bytes]]:
    """{"images": ["<base64>", ...]}, each with or without data:image/png;base64, before it."""
    gc.disable()  # it would go through millions of lists again and again
    try:
        content = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Misfit(400, f"not JSON: {plain(str(error)[:200])}") from None
    finally:
        gc.enable()
    images = content.get("images") if isinstance(content, dict) else None
    if not isinstance(images, list) or not all(isinstance(image, str) for image in images):
        raise Misfit(400, 'not {"images": ["<base64>", ...]}: "images" must be a list of strings')
    refuse_too_many(len(images), most)
    try:
        return [(str(place), decode_base64(image)) for place, image in enumerate(images)]
    except ValueError as error:
        raise Misfit(400, f"not base64: {error}") from None


def decode_base64(text: str) -> bytes:
    """Also in lines (MIME's), with - and _ (RFC 4648's for addresses), without its padding, after data:...;base64, ."""
    digits = "".join(text.rpartition(",")[2].split()).translate(FROM_URL_SAFE).rstrip("=")
    return base64.b64decode(digits + "=" * (-len(digits) % 4), validate=True)


def refuse_too_many(count: int, most: int) -> None:
    if count > most:
        raise Misfit(413, f"{count:,} images are too many: {most:,} at most in a request")


def image_of_body(content_type: str, body: bytes, most: int) -> list[tuple[str, bytes]]:
    return [("", body)] if body else []


TIMEOUTS = (PoolTimeout, asyncio.TimeoutError, TimeoutError)  # three classes on Python 3.10

READERS: dict[str, Callable[[str, bytes, int], list[tuple[str, bytes]]]] = dict(
    zip(FAMILIES, (files_of_form, images_of_json, image_of_body), strict=True)
)


def begin(niceness: int) -> None:
    """What a process does first."""
    os.nice(niceness)
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    cv2.setNumThreads(1)
    logging.getLogger("python_multipart").setLevel(logging.ERROR)  # it warns of every odd byte of a form
    MultiPartParser.spool_max_size = MEMORY  # no file: the temporary folder may be full
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


@contextmanager
def handed_over(body: bytearray) -> Iterator[bytes | Path]:
    """A body as another process gets it: a large one in a file without a name that is only in memory, because all
    processes of a pool take their work from one pipe.
    """
    if len(body) <= PIPED or not hasattr(os, "memfd_create"):
        yield bytes(body)
        return
    place = os.memfd_create("request")
    try:
        with open(place, "wb", closefd=False) as file:
            file.write(body)
        yield Path(f"/proc/{os.getpid()}/fd/{place}")
    finally:
        os.close(place)


@dataclass
class Lane:
    """Processes that each do one thing at a time, for `seconds` at most, and are then killed; clients take turns."""

    processes: int
    seconds: float
    niceness: int
    pool: ProcessPool | None = None
    turns: Turns = field(init=False)

    def __post_init__(self) -> None:
        self.turns = Turns(self.processes)

    def start(self) -> ProcessPool:
        """The pool; a new one in place of a broken one."""
        if self.pool is None or not self.pool.active:
            context = multiprocessing.get_context("forkserver")
            context.set_forkserver_preload([__name__])
            self.pool = ProcessPool(self.processes, initializer=begin, initargs=[self.niceness], context=context)
        return self.pool

    async def run(self, client: Hashable, function: Callable[..., T], *arguments: Any) -> T:
        """Raises one of TIMEOUTS when its time is over, ProcessExpired when its process died of it."""
        async with self.turns.place(client):
            found: T = await asyncio.wrap_future(self.start().submit(function, self.seconds, *arguments))
            return found

    def stop(self) -> None:
        if self.pool is not None:
            self.pool.stop()
            for process in multiprocessing.active_children():
                process.kill()
            self.pool.join()


class Decoders:
    """Both lanes. Called with a client, a content type, a body and how, gives what `decode_request` does.

    seconds: of a processor's time for a request; most_seconds: of any.
    """

    def __init__(self, seconds: float, most_seconds: float):
        self.seconds = seconds
        self.first = Lane(max(2, min(4, len(os.sched_getaffinity(0)) // 2)), FIRST_WAIT_SECONDS, 0)
        self.second = Lane(1, most_seconds, 10)

    async def __call__(
        self, client: Hashable, content_type: str, body: bytearray, how: Decode
    ) -> list[DecodedImage] | Refused:
        with handed_over(body) as handed:
            try:
                found = await self.first.run(client, decode_request, content_type, handed, how, FIRST_SECONDS, True)
                if found is not None:
                    return found
            except (*TIMEOUTS, ProcessExpired) as ended:
                if isinstance(ended, ProcessExpired) and ended.exitcode != -signal.SIGPROF:
                    return DIED
            except BrokenExecutor:  # a process died that had nothing to do; the next request gets another pool
                return Refused(503, BUSY)
            return await self.once_more(client, content_type, handed, how)

    async def once_more(
        self, client: Hashable, content_type: str, body: bytes | Path, how: Decode
    ) -> list[DecodedImage] | Refused:
        """In the second lane."""
        late = Refused(422, f"not decoded in {self.seconds:g} s")
        try:
            found = await self.second.run(client, decode_request, content_type, body, how, self.seconds, False)
            return late if found is None else found
        except TIMEOUTS:
            return late
        except ProcessExpired as ended:
            return late if ended.exitcode == -signal.SIGPROF else DIED
        except BrokenExecutor:
            return Refused(503, BUSY)

    def start(self) -> None:
        """Begin to make the processes."""
        for lane in (self.first, self.second):
            lane.start().submit(os.getpid, None)

    def stop(self) -> None:
        self.first.stop()
        self.second.stop()
