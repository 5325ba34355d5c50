"""What browsers are told, and whose pages may make the service work."""

from __future__ import annotations

import json
from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
HEADERS = [
    ("Content-Security-Policy", POLICY),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
]  # of every answer, uvicorn's own too
SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
OWN_SITES = ("same-origin", "none")  # Sec-Fetch-Site: "none" is a person who typed the address


class OriginGuard:
    """ASGI middleware: 403 for what a page of another origin sends.

    A browser lets any page send a form to any address; only the answer is kept from it. names: hosts that a proxy in
    front is called by, from whose pages requests may come although it passes on another Host.
    """

    def __init__(self, app: ASGIApp, names: Sequence[str] = ()):
        self.app, self.names = app, names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] in SAFE_METHODS or self.is_own(Headers(scope=scope)):
            await self.app(scope, receive, send)
            return
        body = json.dumps({"detail": "a page of another origin may not send images here"}).encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 403, "headers": [*headers, (b"connection", b"close")]})
        await send({"type": "http.response.body", "body": body})

    def is_own(self, headers: Headers) -> bool:
        """Programs send neither header, and a page's own requests the service's own."""
        origin = headers.get("origin")
        if origin is None:
            return headers.get("sec-fetch-site", "none") in OWN_SITES
        try:
            place = urlsplit(origin)
            named = place.hostname in self.names
        except ValueError:
            return False
        return named or (bool(place.netloc) and place.netloc.lower() == headers.get("host", "").lower())
