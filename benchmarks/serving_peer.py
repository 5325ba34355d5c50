"""The same network behind LitServe, for benchmarks/serving.py: `pip install litserve`."""

from __future__ import annotations

import base64
import socket
import sys

import litserve

from models import Recogniser


class Words(litserve.LitAPI):
    def setup(self, device):
        self.reader = Recogniser.load(sys.argv[2] if len(sys.argv) > 2 else None, device="CPU")

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


if __name__ == "__main__":
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    print(f"LitServe: http://127.0.0.1:{port}/", flush=True)
    words = Words(max_batch_size=32, batch_timeout=0.002, api_path="/recognise")
    server = litserve.LitServer(words, accelerator="cpu", workers_per_device=1)
    server.run(host="127.0.0.1", port=port, generate_client_file=False, log_level="error")
