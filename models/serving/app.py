"""The service as an ASGI application; models/serve.py starts it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import fastapi_offline
import numpy as np
from fastapi import FastAPI, HTTPException, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse
from fastapi.staticfiles import StaticFiles
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect

from bench.errors import UserError
from models.reading.detection import LineDetector, find_parts, page_lines
from models.reading.recogniser import Reading, Recogniser
from models.reading.views import ImageView
from models.serving.answers import Answer, Health, Problem, Word, text_line, word
from models.serving.batcher import Batcher, Busy
from models.serving.browsers import OriginGuard
from models.serving.decoding import Decode, DecodedImage, Decoders, Misfit, Refused, family
from models.serving.limits import Limits
from models.serving.metrics import Metrics, RequestCounter
from models.serving.requests import Bodies, busy_error, drain_body

PAGE = Path(__file__).resolve().parent / "page"
VERSION = "1.0.0"  # of the release, as CHANGELOG.md has it
PATHS = ("/recognise", "/healthz", "/metrics", "/docs", "/openapi.json", "/")
IN_TIME = 0.7  # of the time for an answer, in which what waits must be read; the rest is for decoding
STALLED_S = 5  # without a batch while images wait: the service does not work, whatever the reason
PROBLEMS = {
    400: "no image, bad base64 or JSON, a Host that is not this service's",
    403: "sent by a page of another origin",
    408: "too slow",
    413: "too large, or too many images",
    415: "a type that cannot be read",
    422: "not an image, or a parameter that is none",
    431: "headers that are too large",
    503: "busy: try again after Retry-After seconds",
}
BINARY = {"type": "string", "format": "binary"}
BODY = {
    "multipart/form-data": {
        "schema": {
            "type": "object",
            "required": ["images"],
            "properties": {"images": {"type": "array", "items": BINARY, "minItems": 1}},
        }
    },
    "application/json": {
        "schema": {
            "type": "object",
            "required": ["images"],
            "properties": {"images": {"type": "array", "items": {"type": "string", "format": "byte"}, "minItems": 1}},
        }
    },
    "image/*": {"schema": BINARY},
}
Job = tuple[list[ImageView], int]  # an image as it is read, and how many alternatives


@dataclass
class Service:
    """A recogniser, its queue and its counters. Images are decoded in processes and read in a thread."""

    reader: Recogniser
    limits: Limits
    open_requests: int = 0
    decoders: Decoders = field(init=False)
    detector: LineDetector | None = None
    finding: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "finding"))

    def __post_init__(self) -> None:
        reader, limits = self.reader, self.limits
        pixels = int(limits.megapixels * 1e6)
        self.how = Decode(reader.shape, reader.reads_any_width, reader.views, pixels, limits.pictures)
        self.bodies = Bodies(limits)
        self.decoders = Decoders(limits.decode_seconds, limits.answer_seconds)
        self.metrics = Metrics(lambda: self.batcher.waiting)
        observed = self.metrics.batch.observe
        self.batcher: Batcher[Job, Reading] = Batcher(
            self.read, reader.batch_size, limits.waiting, observed, IN_TIME * limits.answer_seconds
        )

    def read(self, jobs: list[Job]) -> list[Reading]:
        """Those with alternatives by themselves: others do not wait for a search that they did not ask for."""
        readings: dict[int, Reading] = {}
        for asked in (False, True):
            places = [place for place, (_, most) in enumerate(jobs) if (most > 0) == asked]
            most = max((jobs[place][1] for place in places), default=0)
            found = self.reader.read_views([jobs[place][0] for place in places], most) if places else []
            readings.update(zip(places, found, strict=True))
        return [readings[place] for place in range(len(jobs))]

    async def recognise(self, request: Request, alternatives: int, detect: bool) -> Answer:
        if self.open_requests >= self.limits.requests:
            await drain_body(request.receive, self.limits.upload_seconds)
            raise busy_error()
        self.open_requests += 1
        try:
            body = await self.take(request)
            work = self.pages(body, request) if detect else self.words(body, request, alternatives)
            words = await in_seconds(work, self.limits.answer_seconds)
        finally:
            self.open_requests -= 1
        return Answer(results=words, weights=self.reader.source.name)

    async def words(self, body: bytearray, request: Request, alternatives: int) -> list[Word]:
        """Each image is a word or a line."""
        client, sent = await self.decoded(body, request, self.how)
        readings = await self.batcher([(one.views, alternatives) for one in sent], client)
        self.metrics.pictures.inc(len(sent))
        return [
            word(one.name or str(place), reading, alternatives)
            for place, (one, reading) in enumerate(zip(sent, readings, strict=True))
        ]

    async def pages(self, body: bytearray, request: Request) -> list[Word]:
        """Each image is a whole photo, in which lines are found. They wait for their turn as images do."""
        client, sent = await self.decoded(body, request, replace(self.how, whole=True))
        found: list[Word] = []
        for place, one in enumerate(sent):
            boxes, parts = await asyncio.get_running_loop().run_in_executor(self.finding, self.find, one.views[0].image)
            jobs = [(self.reader.prepare_views(part), 0) for line in parts for part in line]
            lines = page_lines(boxes, parts, await self.batcher(jobs, client) if jobs else [])
            found += [text_line(one.name or str(place), line) for line in lines]
        self.metrics.pictures.inc(len(sent))
        return found

    def find(self, photo: np.ndarray) -> tuple[list[np.ndarray], list[list[np.ndarray]]]:
        """In the detector's own thread, which makes it when it is first asked for."""
        try:
            self.detector = self.detector or LineDetector()
        except UserError as missing:
            raise HTTPException(422, f"detect: {missing}") from None
        return find_parts(photo, self.detector, self.reader)

    async def take(self, request: Request) -> bytearray:
        try:
            family(request.headers.get("content-type", ""))
        except Misfit as misfit:
            raise refusal(Refused(*misfit.args)) from None
        return await self.bodies.read(request)

    async def decode(self, client: Hashable, content_type: str, body: bytearray, how: Decode) -> list[DecodedImage]:
        found = await self.decoders(client, content_type, body, how)
        if isinstance(found, Refused):
            raise refusal(found)
        return found

    async def decoded(self, body: bytearray, request: Request, how: Decode) -> tuple[str | None, list[DecodedImage]]:
        """The client, and its images."""
        client, kind = request.client.host if request.client else None, request.headers["content-type"]
        try:
            return client, await self.decode(client, kind, body, how)
        finally:
            self.bodies.forget(body)

    @asynccontextmanager
    async def running(self, app: FastAPI) -> AsyncIterator[None]:
        """Between start and end: the first call is slow, so one image is read before any request."""
        self.decoders.start()
        self.read([(self.reader.prepare_views(np.full((32, 100), 255, np.uint8)), 1)])
        self.task = asyncio.create_task(self.batcher.run())
        yield
        self.task.cancel()
        with suppress(asyncio.CancelledError):
            await self.task
        self.decoders.stop()
        self.finding.shutdown(wait=False)

    def health(self) -> Health:
        """HTTPException: 503 where no work moves."""
        if self.task.done():
            raise HTTPException(503, "the recogniser's task has ended: restart the service")
        if (seconds := self.batcher.stalled_s) > STALLED_S:
            raise HTTPException(503, f"no image was read for {seconds:.0f} s while {self.batcher.waiting} wait")
        reader = self.reader
        return Health(
            status="ok", weights=reader.source.name, engine=reader.network.name, device=reader.device.kind.name
        )


async def in_seconds(work: Awaitable[list[Word]], seconds: float) -> list[Word]:
    try:
        return await asyncio.wait_for(work, seconds)
    except (Busy, asyncio.TimeoutError):
        raise busy_error() from None


def refusal(refused: Refused) -> HTTPException:
    return busy_error() if refused.status == 503 else HTTPException(refused.status, refused.detail)


def application(
    reader: Recogniser, limits: Limits, hosts: Sequence[str] = ("*",), names: Sequence[str] = ()
) -> FastAPI:
    """hosts: what a request's Host may call it; "*" for anything. names: what a proxy in front is called."""
    service = Service(reader, limits)
    app = FastAPI(
        title="crnn-bench",
        version=VERSION,
        summary="Reads words.",
        docs_url=None,
        redoc_url=None,
        lifespan=service.running,
    )
    app.state.service = service
    app.add_middleware(OriginGuard, names=names)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=hosts, www_redirect=False)
    app.add_middleware(RequestCounter, metrics=service.metrics, paths=PATHS)
    app.add_exception_handler(ClientDisconnect, lambda request, error: Response(status_code=499))
    app.add_exception_handler(RequestValidationError, say_what_is_invalid)
    add_recognise(app, service)
    add_rest(app, service)
    app.mount("/swagger", StaticFiles(directory=Path(fastapi_offline.__file__).parent / "static"))
    app.mount("/", StaticFiles(directory=PAGE, html=True))
    return app


async def say_what_is_invalid(request: Request, error: Exception) -> JSONResponse:
    """A parameter that is none, told as every other problem is."""
    first = error.errors()[0] if isinstance(error, RequestValidationError) else {"loc": ("?",), "msg": "invalid"}
    return JSONResponse({"detail": f"{first['loc'][-1]}: {first['msg']}"}, 422)


def described_problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Answers for the API's description; an odd Host is refused in plain text."""
    answers: dict[int | str, dict[str, Any]] = {
        status: {"description": PROBLEMS[status], "model": Problem} for status in statuses
    }
    if 400 in answers:
        answers[400]["content"] = {"text/plain": {"schema": {"type": "string"}}}
    return answers


def add_recognise(app: FastAPI, service: Service) -> None:
    body = {"requestBody": {"required": True, "content": BODY}}

    @app.post("/recognise", responses=described_problems(*PROBLEMS), openapi_extra=body)
    async def recognise(
        request: Request, alternatives: Annotated[int, Query(ge=0, le=10)] = 0, detect: bool = False
    ) -> Answer:
        """The words on images: files in a form, base64 in JSON, or one image as the body. detect: they are whole
        photos, whose lines are found first."""
        return await service.recognise(request, alternatives, detect)

    others = ["GET", "HEAD", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"]

    @app.api_route("/recognise", methods=others, include_in_schema=False)
    async def wrong_method() -> Response:
        raise HTTPException(405, "POST images here", {"Allow": "POST"})  # the page's folder, mounted last, says 404


def add_rest(app: FastAPI, service: Service) -> None:
    @app.head("/healthz", include_in_schema=False)  # what some load balancers ask
    @app.get("/healthz", responses=described_problems(400, 503))
    async def healthz() -> Health:
        """Whether images are being read, and with what."""
        return service.health()

    @app.api_route("/healthz", methods=["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"], include_in_schema=False)
    async def no_such_method() -> Response:
        raise HTTPException(405, "GET it", {"Allow": "GET, HEAD"})

    @app.get("/docs", include_in_schema=False)
    async def docs() -> FileResponse:
        return FileResponse(PAGE / "docs.html")

    @app.get("/metrics", include_in_schema=False)
    async def metrics() -> Response:
        return Response(generate_latest(service.metrics.registry), media_type=CONTENT_TYPE_LATEST)
