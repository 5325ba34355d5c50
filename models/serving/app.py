"""The service as an ASGI application; models/serve.py starts it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from fastapi import FastAPI, HTTPException, Query, Request, Response
from fastapi.staticfiles import StaticFiles
from fastapi_offline import FastAPIOffline
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect

from models.data.files import UnreadableError
from models.reading.recogniser import Reading, Recogniser
from models.reading.views import ImageView
from models.serving.answers import Answer, Problem, word
from models.serving.batcher import Batcher, Busy
from models.serving.limits import Limits
from models.serving.metrics import Metrics, RequestCounter
from models.serving.requests import UploadedImage, drain_body, read_images

PAGE = Path(__file__).resolve().parent / "page"
PATHS = ("/recognise", "/healthz", "/metrics", "/docs", "/openapi.json", "/")
PROBLEMS = {
    400: "no image, bad base64 or JSON",
    408: "too slow",
    413: "too large, or too many images",
    415: "a type that cannot be read",
    422: "not an image",
    503: "busy: try again after Retry-After seconds",
}
BINARY = {"type": "string", "format": "binary"}
BODY = {
    "multipart/form-data": {"schema": {"type": "object", "properties": {"images": {"type": "array", "items": BINARY}}}},
    "application/json": {
        "schema": {"type": "object", "properties": {"images": {"type": "array", "items": {"type": "string"}}}}
    },
    "image/*": {"schema": BINARY},
}
Job = tuple[list[ImageView], int]  # an image as it is read, and how many alternatives


@dataclass
class Service:
    """A recogniser, its queue and its counters. Images are decoded in one thread and read in another."""

    reader: Recogniser
    limits: Limits
    open_requests: int = 0
    decoding: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1, "decoding"))

    def __post_init__(self) -> None:
        self.reader.most_pixels = int(self.limits.megapixels * 1e6)
        self.metrics = Metrics(lambda: self.batcher.waiting)
        size = self.reader.batch_size
        self.batcher: Batcher[Job, Reading] = Batcher(self.read, size, self.limits.waiting, self.metrics.batch.observe)

    def read(self, jobs: list[Job]) -> list[Reading]:
        return self.reader.read_views([views for views, _ in jobs], max(n for _, n in jobs))

    async def recognise(self, request: Request, alternatives: int) -> Answer:
        if self.open_requests >= self.limits.requests:
            raise await self.busy(request)
        self.open_requests += 1
        try:
            sent = await read_images(request, self.limits)
            readings = await self.in_time(self.readings(sent, alternatives))
        finally:
            self.open_requests -= 1
        self.metrics.pictures.inc(len(sent))
        words = [
            word(one.name or str(place), reading, alternatives)
            for place, (one, reading) in enumerate(zip(sent, readings, strict=True))
        ]
        return Answer(results=words, weights=self.reader.source.name)

    async def busy(self, request: Request) -> HTTPException:
        await drain_body(request.receive, self.limits.upload_seconds)
        return busy_error()

    async def prepare_image(self, sent: UploadedImage) -> list[ImageView]:
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self.decoding, self.reader.prepare_views, sent.content)
        except UnreadableError as error:
            raise HTTPException(422, f"{sent.name or 'the image'}: {error}") from None

    async def readings(self, sent: list[UploadedImage], alternatives: int) -> list[Reading]:
        return await self.batcher([(await self.prepare_image(one), alternatives) for one in sent])

    async def in_time(self, readings: Awaitable[list[Reading]]) -> list[Reading]:
        try:
            return await asyncio.wait_for(readings, self.limits.answer_seconds)
        except (Busy, asyncio.TimeoutError):
            raise busy_error() from None

    @asynccontextmanager
    async def running(self, app: FastAPI) -> AsyncIterator[None]:
        """Between start and end: the first call is slow, so one image is read before any request."""
        self.read([(self.reader.prepare_views(np.full((32, 100), 255, np.uint8)), 1)])
        self.task = asyncio.create_task(self.batcher.run())
        yield
        self.task.cancel()
        with suppress(asyncio.CancelledError):
            await self.task

    def health(self) -> dict[str, str]:
        if self.task.done():
            raise HTTPException(503, "the recogniser's task has ended: restart the service")
        about = {"weights": self.reader.source.name, "engine": self.reader.network.name}
        return {"status": "ok", **about, "device": self.reader.device.kind.name}


def busy_error() -> HTTPException:
    return HTTPException(503, "busy: try again in a second", {"Retry-After": "1"})


def application(reader: Recogniser, limits: Limits, names: Sequence[str] = ("*",)) -> FastAPI:
    """names: what a request's Host may call it; "*" for anything."""
    service = Service(reader, limits)
    about = {"title": "crnn-bench", "summary": "Reads words.", "favicon_url": "/icon.svg"}
    app = FastAPIOffline(redoc_url=None, lifespan=service.running, **about)
    app.state.service = service
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=names, www_redirect=False)
    app.add_middleware(RequestCounter, metrics=service.metrics, paths=PATHS)
    app.add_exception_handler(ClientDisconnect, lambda request, error: Response(status_code=499))
    add_recognise(app, service)
    add_rest(app, service)
    app.mount("/", StaticFiles(directory=PAGE, html=True))
    return app


def add_recognise(app: FastAPI, service: Service) -> None:
    problems: dict[int | str, dict[str, Any]] = {
        status: {"description": why, "model": Problem} for status, why in PROBLEMS.items() if status != 422
    }

    @app.post("/recognise", responses=problems, openapi_extra={"requestBody": {"required": True, "content": BODY}})
    async def recognise(request: Request, alternatives: Annotated[int, Query(ge=0, le=10)] = 0) -> Answer:
        """The words on images: files in a form, base64 in JSON, or one image as the body."""
        return await service.recognise(request, alternatives)

    @app.get("/recognise", include_in_schema=False)
    async def wrong_method() -> Response:
        raise HTTPException(405, "POST images here", {"Allow": "POST"})  # the page's folder, mounted last, says 404


def add_rest(app: FastAPI, service: Service) -> None:
    @app.head("/healthz", include_in_schema=False)  # what some load balancers ask
    @app.get("/healthz")
    async def healthz() -> dict[str, Any]:
        """Whether it reads, and with what."""
        return service.health()

    @app.get("/metrics", include_in_schema=False)
    async def metrics() -> Response:
        return Response(generate_latest(service.metrics.registry), media_type=CONTENT_TYPE_LATEST)
