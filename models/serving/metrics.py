"""What Prometheus is told of a service."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)


class Metrics:
    """A registry of one service, so that two of them in a process do not mix."""

    def __init__(self, waiting: Callable[[], int]):
        self.registry = CollectorRegistry()
        counter = partial(Counter, namespace="crnn", registry=self.registry)
        histogram = partial(Histogram, namespace="crnn", registry=self.registry)
        self.requests = counter("requests", "Requests by path and status", ["path", "status"])
        self.seconds = histogram("request_seconds", "Seconds of answered requests", buckets=SECONDS)
        self.pictures = counter("pictures", "Images read")
        self.batch = histogram("batch_pictures", "Images of a batch", buckets=(1, 2, 4, 8, 16, 32, 64))
        queue = Gauge("waiting_pictures", "Images waiting or being read", namespace="crnn", registry=self.registry)
        queue.set_function(waiting)


class RequestCounter:
    """ASGI middleware: counts every request by path and status; a path that nobody serves is 'other'."""

    def __init__(self, app: ASGIApp, metrics: Metrics, paths: tuple[str, ...]):
        self.app, self.metrics, self.paths = app, metrics, paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began = time.perf_counter()
        path = scope["path"] if scope["path"] in self.paths else "other"

        async def count_answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                self.metrics.requests.labels(path, message["status"]).inc()
                if path == "/recognise":
                    self.metrics.seconds.observe(time.perf_counter() - began)
            await send(message)

        await self.app(scope, receive, count_answer)
