"""TextRecognitionDataGenerator at the work of `models.render --style hard`; run by benchmarks/render.py --peer.

Needs `trdg` only. Words, distortion, skew, blur and a textured ground at 32 pixels, JPEG included.
"""

import io
import json
import random
import time

from trdg.generators import GeneratorFromDict

ROUNDS, IMAGES = 3, 100

random.seed(1)
words = GeneratorFromDict(
    length=1, count=-1, size=32, skewing_angle=5, random_skew=True, blur=1, random_blur=True,
    background_type=0, distorsion_type=3,
)  # fmt: skip


def rate() -> float:
    started = time.process_time()
    for _ in range(IMAGES):
        next(words)[0].convert("RGB").save(io.BytesIO(), "JPEG", quality=79)
    return IMAGES / (time.process_time() - started)


rate()  # the first images load the fonts
print(json.dumps([rate() for _ in range(ROUNDS)]))
