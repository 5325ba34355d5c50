"""Connections that end. uvicorn's own wait for ever for a client, and keep whatever it sends before a body."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from models.serving.browsers import HEADERS
from models.serving.limits import Limits

PIPELINED = 8  # requests that may wait on a connection behind the one that is answered; browsers send none
HEAD_BYTES = 65_536  # of a request without its body: line, headers, marks of chunks, trailers; h11 allows as many


SAID = [f"{name}: {value}" for name, value in HEADERS]


class TooManyPipelined(Exception):
    """Ends the parsing of what a client sent at once; httptools makes an error of HTTP of it."""


class Connection(HttpToolsProtocol):
    """uvicorn's connection, which waits `upload_seconds` at most whenever it is the client's turn: to begin a request
    and end its headers, to send what is left of a body that nobody reads, to take an answer.

    How long a request may take after its headers is said in requests.py and app.py.
    """

    limits: Limits
    framing = 0  # bytes of the current request that were no body
    answering: RequestResponseCycle | None = (
        None  # the request whose answer is being made; `cycle` is the newest, which may wait behind it
    )

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.patience = self.loop.call_later(self.limits.upload_seconds, self.expire)
        if len(self.connections) > self.limits.connections:
            self.refuse(HTTPStatus.SERVICE_UNAVAILABLE, "too many connections: try again in a second")

    def connection_lost(self, exc: Exception | None) -> None:
        self.patience.cancel()
        super().connection_lost(exc)
        if self.answering:
            self.answering.disconnected = True  # uvicorn tells the newest only, and the other writes on: a traceback

    def watch(self) -> None:
        """Begin to count when it is the client's turn, and stop when it is ours."""
        self.patience.cancel()
        if self.flow.write_paused or self.cycle is None or self.cycle.response_complete:
            self.patience = self.loop.call_later(self.limits.upload_seconds, self.expire)

    def expire(self) -> None:
        if self.transport.is_closing() or self.flow.write_paused:
            self.transport.abort()  # it does not take its answer
            return
        if self.framing and (self.cycle is None or self.cycle.scope is not self.scope):  # a request has begun
            self.refuse(HTTPStatus.REQUEST_TIMEOUT, f"no headers in {self.limits.upload_seconds:g} s")
        self.transport.close()
        self.watch()

    def refuse(self, status: HTTPStatus, reason: str) -> None:
        body = json.dumps({"detail": reason})
        lines = [f"HTTP/1.1 {status.value} {status.phrase}", "content-type: application/json", "retry-after: 1",
                 f"content-length: {len(body)}", "connection: close", *SAID, "", body]  # fmt: skip
        self.transport.write("\r\n".join(lines).encode())
        self.transport.close()

    def data_received(self, data: bytes) -> None:
        self.framing += len(data)
        super().data_received(data)
        if self.framing > HEAD_BYTES and not self.transport.is_closing():
            self.refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"more than {HEAD_BYTES:,} bytes beside the body")

    def on_message_begin(self) -> None:
        if len(self.pipeline) >= PIPELINED:
            self.transport.abort()  # a refusal would be taken for the answer to the first
            raise TooManyPipelined
        self.framing = 1  # of a request that has begun, which `expire` must not take for none
        super().on_message_begin()

    def on_body(self, body: bytes) -> None:
        """A byte of a body pays for itself and for one of the marks of its chunk."""
        self.framing = max(0, self.framing - 2 * len(body))
        super().on_body(body)

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        if not self.pipeline:
            self.answering = self.cycle
        self.watch()

    def on_response_complete(self) -> None:
        if self.pipeline:
            self.answering = self.pipeline[-1][0]  # the next, which begins now
        super().on_response_complete()
        self.watch()

    def pause_writing(self) -> None:
        super().pause_writing()
        self.watch()

    def resume_writing(self) -> None:
        super().resume_writing()
        self.watch()
