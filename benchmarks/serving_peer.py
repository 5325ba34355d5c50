"""The same network behind LitServe, for benchmarks/serving.py: `pip install litserve`."""

from __future__ import annotations

import base64
import socket
from dataclasses import dataclass

import litserve

from bench.errors import run_cli
from bench.options import Command
from models import Recogniser


@dataclass
class ServingPeerOptions:
    """Serve our network with LitServe."""

    weights: str | None = None
    """A checkpoint; default: the shipped weights"""


COMMAND = Command("benchmarks.serving_peer", ServingPeerOptions, "--weights best.pt")


class Words(litserve.LitAPI):
    def setup(self, device):
        self.reader = Recogniser.load(COMMAND.parse().weights, device="CPU")

    def decode_request(self, request):
        return self.reader.prepare(base64.b64decode(request["images"][0]))

    def predict(self, pictures):
        return self.reader.read(pictures, alternatives=0)

    def batch(self, inputs):
        return list(inputs)

    def unbatch(self, output):
        return output

    def encode_response(self, reading):
        return {"results": [{"text": reading.text, "confidence": reading.confidence}]}


def main() -> None:
    COMMAND.parse()
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    print(f"LitServe: http://127.0.0.1:{port}/", flush=True)
    words = Words(max_batch_size=32, batch_timeout=0.002, api_path="/recognise")
    server = litserve.LitServer(words, accelerator="cpu", workers_per_device=1)
    server.run(host="127.0.0.1", port=port, generate_client_file=False, log_level="error")


if __name__ == "__main__":
    run_cli(main, "benchmarks.serving_peer")
