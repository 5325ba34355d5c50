"""The body of a request, bounded in size and time. Each excess is a status and a clear line."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from fastapi import HTTPException, Request

from models.serving.decoding import BUSY
from models.serving.limits import Limits

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]


def busy_error() -> HTTPException:
    return HTTPException(503, BUSY, {"Retry-After": "1"})


@dataclass
class Bodies:
    """Reads bodies, and knows how many bytes of them are held at once."""

    limits: Limits
    held: int = 0

    async def read(self, request: Request) -> bytearray:
        """A whole body, which the caller gives back to `forget`. HTTPException: 408, 413, 503."""
        loop, limits = asyncio.get_running_loop(), self.limits
        deadline, body, message = loop.time() + limits.upload_seconds, bytearray(), None
        try:
            while message is None or message.get("more_body"):
                message = await asyncio.wait_for(request.receive(), max(0, deadline - loop.time()))
                part = message.get("body", b"")
                self.held += len(part)
                body += part
                if len(body) > limits.most_bytes or self.held > limits.most_held:
                    await drain_body(request.receive, deadline - loop.time(), message)
                    raise self.too_much(len(body))
            return body
        except asyncio.TimeoutError:
            self.forget(body)
            raise HTTPException(408, f"the request did not arrive in {limits.upload_seconds:g} s") from None
        except BaseException:
            self.forget(body)
            raise

    def too_much(self, size: int) -> HTTPException:
        if size > self.limits.most_bytes:
            return HTTPException(413, f"the request is larger than {self.limits.megabytes:g} MB")
        return busy_error()

    def forget(self, body: bytearray) -> None:
        self.held -= len(body)
        body.clear()


async def drain_body(receive: Receive, seconds: float, message: Message | None = None) -> None:
    """Read what is left of a request after `message` and keep nothing: who still sends may not hear an answer."""

    async def rest(message: Message) -> None:
        while message.get("more_body"):
            message = await receive()

    with suppress(asyncio.TimeoutError):
        await asyncio.wait_for(rest(message or {"more_body": True}), max(0, seconds))
