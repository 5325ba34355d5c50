"""Serve a recogniser: `python -m models.serve`, then http://127.0.0.1:8000/ in a browser.

POST /recognise reads pictures; / is a page to drop pictures on, /docs the API, /healthz and /metrics are for machines.
Other hosts reach it with --host 0.0.0.0, and should do so through a proxy that knows who they are: docs/serving.md.
"""

from __future__ import annotations

import signal
import sys
from dataclasses import dataclass, field
from typing import Literal

from bench.refusal import Refusal, answer
from models.parsing import parse
from models.serving.limits import Limits


@dataclass
class Serve:
    """Serve a recogniser over HTTP: POST /recognise, a page at /, the API at /docs, /healthz, /metrics."""

    weights: str | None = None
    """A best.pt, a .safetensors file, or the name of shipped weights; default: the shipped ones"""
    host: str = "127.0.0.1"
    """Where to listen; 0.0.0.0 for everybody, who is then not asked who they are"""
    port: int = 8000
    """0 takes a free one and says which"""
    device: Literal["MLU", "GPU", "CPU"] | None = None
    """Default: the best one present"""
    precision: Literal["FP32", "TF32", "AMP", "BF16"] = "FP32"
    engine: Literal["eager", "prepacked", "compile", "onnxruntime", "openvino", "openvino_int8", "tensorrt", "auto"] = (
        "eager"
    )
    """What computes the network; auto: the fastest here that agrees with eager"""
    batch_size: int = 32
    """Pictures that are read together at most"""
    limits: Limits = field(default_factory=Limits)


def main(argv: list[str] | None = None) -> None:
    options = parse(Serve, argv, "models.serve", "python -m models.serve --weights best.pt --port 8000")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))  # also what uvicorn raises again when it has drained
    try:
        import uvicorn

        from models.serving.app import application
    except ImportError as error:
        raise Refusal(f"serving needs {error.name}: pip install -r requirements-extra.txt") from None
    from models import Recogniser

    how = {name: getattr(options, name) for name in ("device", "precision", "engine", "batch_size")}
    reader = Recogniser.load(options.weights, **how)
    listening = uvicorn.Config(
        application(reader, options.limits), options.host, options.port, log_level="warning", access_log=False,
        timeout_graceful_shutdown=options.limits.drain_seconds, server_header=False,
    )  # fmt: skip
    server = uvicorn.Server(listening)
    place = listening.bind_socket()
    print(f"{reader.source}: http://{options.host}:{place.getsockname()[1]}/", flush=True)
    server.run(sockets=[place])


if __name__ == "__main__":
    answer(main, "models.serve")
