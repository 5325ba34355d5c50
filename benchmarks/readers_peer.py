"""One of PaddleOCR's recognition networks as a reader of words; no torch here, as its users have none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime

from bench.errors import UserError


@dataclass
class PaddleReader:
    """PaddleOCR's preparation and greedy decoding around one of its recognition networks."""

    session: onnxruntime.InferenceSession
    characters: list[str]

    @classmethod
    def open(cls, model: Path, dictionary: Path | None = None) -> PaddleReader:
        import cv2

        cv2.setNumThreads(1)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
        held = session.get_modelmeta().custom_metadata_map.get("character", "")
        text = dictionary.read_text(encoding="utf-8") if dictionary else held
        if not text:
            raise UserError(f"{model}: holds no characters; give its dictionary, NAME={model}:DICTIONARY.txt")
        return cls(session, ["", *text.strip("\n").split("\n"), " "])

    def prepare(self, encoded: bytes) -> np.ndarray:
        """float32 (3, H, W) in -1..1."""
        import cv2

        image = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR)
        stated = self.session.get_inputs()[0].shape[2]
        height = stated if isinstance(stated, int) else 48
        width = max(int(np.ceil(height * image.shape[1] / image.shape[0])), 8)
        return cv2.resize(image, (width, height)).transpose(2, 0, 1).astype(np.float32) / 127.5 - 1

    def __call__(self, images: Sequence[bytes]) -> list[str]:
        prepared = [self.prepare(image) for image in images]
        widest = max(image.shape[2] for image in prepared)
        batch = np.zeros((len(prepared), *prepared[0].shape[:2], widest), np.float32)
        for row, image in zip(batch, prepared, strict=True):
            row[:, :, : image.shape[2]] = image
        [scores] = self.session.run(None, {self.session.get_inputs()[0].name: batch})
        paths = scores.argmax(2)
        kept = (paths > 0) & np.diff(paths, axis=1, prepend=0).astype(bool)
        return ["".join(self.characters[c] for c in path[mask]) for path, mask in zip(paths, kept, strict=True)]
