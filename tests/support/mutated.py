"""Broken and hostile images by the thousand: `python -m tests.support.mutated [COUNT] [SEED]` says what became of them.

Each is decoded as the data set does it; the slowest and the memory that all together took are said. Nothing is kept.
"""

from __future__ import annotations

import io
import random
import resource
import struct
import sys
import time
import zlib
from collections import Counter
from collections.abc import Iterator

import numpy as np
from PIL import Image

from models.data.files import UnreadableError
from models.data.image import MAX_PIXELS, decode, image_size

KINDS = {
    "JPEG": {}, "JPEG progressive": {"progressive": True}, "PNG": {}, "PNG colours": {"colours": True}, "GIF": {},
    "WEBP": {}, "WEBP lossless": {"lossless": True}, "TIFF": {}, "TIFF deflate": {"compression": "tiff_adobe_deflate"},
    "BMP": {}, "PPM": {},
}  # fmt: skip


def saved(image: Image.Image, kind: str, colours: bool = False, **options) -> bytes:
    file = io.BytesIO()
    (image.convert("RGBA") if colours else image).save(file, kind.split()[0], **options)
    return file.getvalue()


def originals() -> list[bytes]:
    grey = np.random.default_rng(0).integers(0, 256, (8, 24), np.uint8)
    image = Image.fromarray(grey).resize((90, 31), Image.Resampling.BICUBIC)
    return [saved(image, kind, **options) for kind, options in KINDS.items()]


def png(width: int, height: int, pixels: bytes) -> bytes:
    """A PNG whose header claims this size."""
    chunks = ((b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)), (b"IDAT", pixels), (b"IEND", b""))
    body = (struct.pack(">I", len(d)) + name + d + struct.pack(">I", zlib.crc32(name + d)) for name, d in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)


def scans(count: int, side: int = 2048) -> bytes:
    """A progressive JPEG whose last scan comes again and again: each costs a pass over all its pixels."""
    whole = saved(Image.new("L", (side, side), 99), "JPEG", progressive=True)
    last = whole[whole.rfind(b"\xff\xda") : -2]
    return whole[:-2] + last * count + b"\xff\xd9"


def tiles(count: int) -> bytes:
    """A TIFF of 2048 x 2048 px in `count` tiles, all of them the same 256 bytes."""
    tags = ((256, 4, 1, 2048), (257, 4, 1, 2048), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (277, 3, 1, 1),
            (322, 3, 1, 16), (323, 3, 1, 16), (324, 4, count, 134), (325, 4, count, 134 + 4 * count))  # fmt: skip
    directory = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags) + bytes(4)
    return (
        struct.pack("<2sHI", b"II", 42, 8) + directory + struct.pack("<I", 8) * count + struct.pack("<I", 256) * count
    )


BOMBS = {
    "PNG of 65,000 x 65,000 px": lambda: png(65_000, 65_000, zlib.compress(bytes(10**7))),
    "PNG with 100 MB for 100 x 100 px": lambda: png(100, 100, zlib.compress(bytes(10**8))),
    "JPEG of 65,500 x 1 px": lambda: saved(Image.new("L", (65_500, 1)), "JPEG"),
    "JPEG of 8,000 x 8,000 px": lambda: saved(Image.new("L", (8_000, 8_000)), "JPEG"),
    "JPEG of 20,000 scans": lambda: scans(20_000),
    "TIFF of 100,000 tiles": lambda: tiles(100_000),
    "GIF with a screen of 65,000 x 65,000 px": lambda: with_size(saved(Image.new("L", (9, 9)), "GIF"), 6),
    "WebP of 16,000 x 200 px": lambda: saved(Image.new("L", (16_000, 200)), "WEBP"),
    "PostScript, which Pillow gives to Ghostscript": lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
    "17 MB of nothing": lambda: bytes(17_000_000),
}


def with_size(content: bytes, place: int) -> bytes:
    return content[:place] + struct.pack("<HH", 65_000, 65_000) + content[place + 4 :]


def mutated(count: int, seed: int) -> Iterator[bytes]:
    """Images with bits turned, bytes replaced, stretches copied, cut or grown."""
    draw, whole = random.Random(seed), originals()
    for number in range(count):
        content = bytearray(whole[number % len(whole)])
        for _ in range(draw.randint(1, 6)):
            damage(content, draw)
        yield bytes(content)


def damage(content: bytearray, draw: random.Random) -> None:
    at, some = draw.randrange(len(content)), draw.randint(1, 8)
    how = draw.randrange(5)
    if how == 0:
        content[at] ^= 1 << draw.randrange(8)
    elif how == 1:
        content[at : at + some] = draw.randbytes(some)
    elif how == 2:
        content[at : at + some] = draw.choice([b"\xff", b"\x00"]) * some
    elif how == 3:
        content[at:at] = content[max(0, at - 200) : at]
    elif len(content) > 40:
        del content[max(20, at) :]


def outcome(content: bytes) -> str:
    """What became of an image. Anything that is raised but UnreadableError is a bug."""
    try:
        height, width, _ = decode(content).shape
        assert height * width <= MAX_PIXELS
        image_size(content)
    except UnreadableError as error:
        assert str(error).isprintable()
        return "refused"
    return "read"


def tried(images: Iterator[bytes]) -> tuple[Counter, float]:
    """How many were read and refused, and the longest that one took in seconds."""
    counts, slowest = Counter(), 0.0
    for content in images:
        began = time.perf_counter()
        counts[outcome(content)] += 1
        slowest = max(slowest, time.perf_counter() - began)
    return counts, slowest


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main(count: int = 5_000, seed: int = 1) -> None:
    before = peak_mib()
    counts, slowest = tried(mutated(count, seed))
    print(f"{count:,} mutated images (seed {seed}): {counts['read']:,} read, {counts['refused']:,} refused, 0 crashed")
    print(f"the slowest took {slowest * 1e3:.0f} ms; {peak_mib() - before:.0f} MiB more at the peak")
    for name, make in BOMBS.items():
        content = make()
        before = peak_mib()
        counts, seconds = tried(iter([content]))
        more = peak_mib() - before
        print(f"{name}: {len(content):,} bytes, {' '.join(counts)} in {seconds * 1e3:.0f} ms, {more:.0f} MiB more")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
