"""The images of a request. Each excess and each mistake is a status and a clear line."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeVar

from fastapi import HTTPException, Request
from starlette.datastructures import UploadFile

from models.serving.limits import Limits

T = TypeVar("T")
FROM_URL_SAFE = str.maketrans("-_", "+/")
TYPES = "multipart/form-data, application/json with base64, or one image as image/*"


@dataclass(frozen=True)
class UploadedImage:
    """An image of a request."""

    name: str
    content: bytes


Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]


def limit_body(receive: Receive, limits: Limits) -> Receive:
    """An ASGI `receive` that ends with 413 or 408 when a request is too large or too slow."""
    loop, size = asyncio.get_running_loop(), 0
    deadline = loop.time() + limits.upload_seconds

    async def receive_in_time() -> MutableMapping[str, Any]:
        nonlocal size
        try:
            message = await asyncio.wait_for(receive(), max(0, deadline - loop.time()))
        except asyncio.TimeoutError:
            raise HTTPException(408, f"the request did not arrive in {limits.upload_seconds:g} s") from None
        size += len(message.get("body", b""))
        if size > limits.most_bytes:
            await drain_body(receive, deadline - loop.time(), message)
            raise HTTPException(413, f"the request is larger than {limits.megabytes:g} MB")
        return message

    return receive_in_time


async def drain_body(receive: Receive, seconds: float, message: MutableMapping[str, Any] | None = None) -> None:
    """Read what is left of a request after `message` and keep nothing: who still sends may not hear an answer."""

    async def rest(message: MutableMapping[str, Any]) -> None:
        while message.get("more_body"):
            message = await receive()

    with suppress(asyncio.TimeoutError):
        await asyncio.wait_for(rest(message or {"more_body": True}), max(0, seconds))


async def read_images(request: Request, limits: Limits) -> list[UploadedImage]:
    """The images of a request. HTTPException: 400, 408, 413, 415."""
    request = Request(request.scope, limit_body(request.receive, limits))
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    found = await choose_reader(kind)(request, limits)
    if not found:
        raise HTTPException(400, f"no image in the request: send {TYPES}")
    return refuse_too_many(found, limits)


def refuse_too_many(images: list[T], limits: Limits) -> list[T]:
    if len(images) > limits.pictures:
        raise HTTPException(413, f"{len(images)} images are too many: {limits.pictures} at most in a request")
    return images


def choose_reader(kind: str) -> Callable[[Request, Limits], Awaitable[list[UploadedImage]]]:
    readers = {
        "multipart/form-data": images_of_form,
        "application/json": images_of_json,
        "application/octet-stream": image_of_body,
    }
    if kind in readers or kind.startswith("image/"):
        return readers.get(kind, image_of_body)
    raise HTTPException(415, f"cannot read {kind or 'a request without a content type'}: send {TYPES}")


async def images_of_form(request: Request, limits: Limits) -> list[UploadedImage]:
    async with request.form(max_files=limits.pictures, max_fields=limits.pictures) as form:
        files = [part for _, part in form.multi_items() if isinstance(part, UploadFile)]
        return [UploadedImage(file.filename or "", await file.read()) for file in files]


async def images_of_json(request: Request, limits: Limits) -> list[UploadedImage]:
    """{"images": ["<base64>", ...]}, each with or without data:image/png;base64, before it."""
    images = refuse_too_many(parse_images(await request.body()), limits)
    try:
        return [UploadedImage(str(place), decode_base64(image)) for place, image in enumerate(images)]
    except ValueError as error:
        raise HTTPException(400, f"not base64: {error}") from None


def decode_base64(text: str) -> bytes:
    """Also in lines (MIME's), with - and _ (RFC 4648's for addresses), without its padding, after data:...;base64, ."""
    digits = "".join(text.rpartition(",")[2].split()).translate(FROM_URL_SAFE).rstrip("=")
    return base64.b64decode(digits + "=" * (-len(digits) % 4), validate=True)


def parse_images(body: bytes) -> list[str]:
    """The list under "images". HTTPException: 400."""
    try:
        content = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise HTTPException(400, f"not JSON: {error}") from None
    images = content.get("images") if isinstance(content, dict) else None
    if not isinstance(images, list) or not all(isinstance(image, str) for image in images):
        raise HTTPException(400, 'not {"images": ["<base64>", ...]}: "images" must be a list of strings')
    return images


async def image_of_body(request: Request, limits: Limits) -> list[UploadedImage]:
    content = await request.body()
    return [UploadedImage("", content)] if content else []
