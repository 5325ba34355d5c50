"""Serve a recogniser: `python -m models.serve`, then http://127.0.0.1:8000/ in a browser.

POST /recognise reads images; / is a page to drop images on, /docs the API, /healthz and /metrics are for machines.
Other hosts reach it with --host 0.0.0.0, and should do so through a proxy that knows who they are: docs/serving.md.
"""

from __future__ import annotations

if not __package__:  # `python models/serve.py`, from any folder: its own is on the path, and not the checkout
    __import__("sys").path.insert(0, __file__.rsplit("/", 2)[0])

import ipaddress
import os
import signal
import socket
import sys
from dataclasses import dataclass, field
from typing import Annotated, Literal

from bench.errors import UserError, run_cli
from bench.options import Also, Bounds, Command, Metavar
from models.serving.limits import Limits

OWN_NAMES = ("localhost", "127.0.0.1", "[::1]")
BACKLOG = 2048  # connections that the kernel holds until they are accepted; uvicorn's own number


@dataclass
class ServeOptions:
    """Serve a recogniser over HTTP: POST /recognise, a page at /, the API at /docs, /healthz, /metrics."""

    weights: Annotated[str | None, Also("checkpoint")] = None
    """A best.pt, a .safetensors file, or the name of shipped weights; default: the shipped ones"""
    host: str = "127.0.0.1"
    """Where to listen; 0.0.0.0 exposes the service to the network, without authentication"""
    port: Annotated[int, Bounds(0, 65535)] = 8000
    """0 takes a free one and says which"""
    names: Annotated[list[str], Metavar("HOST")] = field(default_factory=list)
    """What else a request may call it, a proxy's name for instance: listening on this host alone it answers to this
    host's own names only, elsewhere to any unless some are given"""
    device: Literal["MLU", "GPU", "CPU"] | None = None
    """Default: the best one present"""
    precision: Literal["FP32", "TF32", "AMP", "BF16"] = "FP32"
    engine: (
        Literal["eager", "prepacked", "compile", "onnxruntime", "openvino", "openvino_int8", "tensorrt", "auto"] | None
    ) = None
    """What computes the network; auto measures which is fastest here and remembers it for the next start"""
    views: bool = True
    """Read doubtful images again, narrower, wider or turned, and keep what is surest"""
    batch_size: Annotated[int, Bounds(1, 1 << 20)] = 32
    """Images that are read together at most"""
    limits: Limits = field(default_factory=Limits)


COMMAND = Command("models.serve", ServeOptions, "--weights best.pt --port 8000")


def main(argv: list[str] | None = None) -> None:
    options = COMMAND.parse(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # also what uvicorn raises again when it has drained
    try:
        import uvicorn

        from models.serving.app import application
        from models.serving.browsers import HEADERS
        from models.serving.connections import Connection
        from models.serving.ending import EndingServer
    except ImportError as error:
        raise UserError(f"serving needs {error.name}: pip install -r requirements-serve.txt") from None
    from models import Recogniser

    how = {name: getattr(options, name) for name in ("device", "precision", "engine", "batch_size", "views")}
    reader = Recogniser.load(options.weights, **how)
    place = listen(options.host, options.port)
    print(f"{reader.source}: http://{bracket_ipv6(options.host)}:{place.getsockname()[1]}/", flush=True)
    app = application(reader, options.limits, allowed_hosts(options.names, place.getsockname()[0]), options.names)
    Connection.limits = options.limits
    config = uvicorn.Config(app, log_level="error", access_log=False, server_header=False, http=Connection, ws="none",
                            headers=HEADERS)  # fmt: skip
    EndingServer(config, options.limits.drain_seconds).run(sockets=[place])


def allowed_hosts(names: list[str], address: str) -> list[str]:
    """What a request's Host may be. Somebody's page can point its own name at 127.0.0.1, and its reader's browser then
    lets it read our answers; but it asks under that name (DNS rebinding). Raises UserError.
    """
    if odd := [name for name in names if "*" in name.removeprefix("*.")]:
        raise UserError(f"--names: {odd[0]} is no name; *.example.com stands for all below it")
    return [*OWN_NAMES, address, *names] if ipaddress.ip_address(address).is_loopback else names or ["*"]


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens there; requests that come before all is ready wait in it. Raises UserError."""
    if not 0 <= port <= 65535:  # getaddrinfo would take what is left of 65536
        raise UserError(f"--port is 0 to 65535, not {port}")
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        place = socket.create_server(address, family=family, backlog=BACKLOG)
    except socket.gaierror as error:
        raise UserError(f"cannot listen on {host}: {error.strerror}") from None
    except OSError as error:
        raise UserError(f"cannot listen on {bracket_ipv6(host)}:{port}: {os.strerror(error.errno or 0)}") from None
    # Connections inherit it. asyncio sets it on sockets of IPPROTO_TCP alone, and this one's protocol is 0: the body of
    # an answer, sent after its headers, would wait 40 ms for the client's delayed acknowledgement of them.
    place.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return place


def bracket_ipv6(host: str) -> str:
    """A host as an address in a browser has it, where ':' begins the port: [::1]."""
    return f"[{host}]" if ":" in host else host


if __name__ == "__main__":
    run_cli(main, "models.serve")
