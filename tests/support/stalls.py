"""Images that keep a careless decoder busy for seconds to minutes."""

from __future__ import annotations

import io
import struct
import zlib

from PIL import Image

from tests.support.images import encoded, noise


def tiff_of_pages(count: int) -> bytes:
    """The first is a whole image of 16 x 16 px, each other a directory of three tags."""
    tags = [(256, 16), (257, 16), (258, 8), (259, 1), (262, 1), (273, 8), (277, 1), (278, 16), (279, 256)]
    rows = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    at = 8 + 256 + 2 + len(rows) + 4
    parts = [struct.pack("<2sHI", b"II", 42, 8 + 256), bytes(256), struct.pack("<H", len(tags)), rows]
    parts.append(struct.pack("<I", at))
    few = ((256, 16), (257, 16), (273, 8))
    page = struct.pack("<H", 3) + b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in few)
    for number in range(1, count):
        at += len(page) + 4
        parts += [page, struct.pack("<I", at if number < count - 1 else 0)]
    return b"".join(parts)


def gif_of_frames(count: int) -> bytes:
    file = io.BytesIO()
    Image.new("L", (4, 4)).save(file, "GIF")
    frame = b"," + struct.pack("<HHHH", 0, 0, 1, 1) + b"\0\2\0"
    return file.getvalue()[:-1] + frame * count + b";"


def jpeg_of_segments(count: int, marker: bytes, content: bytes) -> bytes:
    file = io.BytesIO()
    Image.new("L", (16, 16)).save(file, "JPEG")
    segment = b"\xff" + marker + struct.pack(">H", len(content) + 2) + content
    return b"\xff\xd8" + segment * count + file.getvalue()[2:]


def png_of_chunks(count: int, name: bytes, content: bytes) -> bytes:
    chunk = struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
    whole = encoded(noise())
    return whole[:33] + chunk * count + whole[33:]


def bmp_of_runs(side: int) -> bytes:
    """RLE4, which Pillow decodes in Python."""
    row = (b"\xff\x5a" * (side // 255 + 1)) + b"\0\0"
    data, palette = row * side + b"\0\1", bytes(64)
    head = struct.pack("<IiiHHIIiiII", 40, side, side, 1, 4, 2, len(data), 0, 0, 16, 16)
    return b"BM" + struct.pack("<IHHI", 118 + len(data), 0, 0, 118) + head + palette + data


PICTURES = {
    "a TIFF of 60,000 pages": lambda: tiff_of_pages(60_000),
    "a GIF of 1,000,000 frames": lambda: gif_of_frames(1_000_000),
    "a JPEG of 400,000 Exif segments": lambda: jpeg_of_segments(400_000, b"\xe1", b"Exif\0\0x"),
    "a JPEG of 3,000,000 comments": lambda: jpeg_of_segments(3_000_000, b"\xfe", b""),
    "a PNG of 1,000,000 texts": lambda: png_of_chunks(1_000_000, b"tEXt", b"a\0b"),
    "a PNG of 1,000,000 private chunks": lambda: png_of_chunks(1_000_000, b"prVt", b""),
    "a BMP of runs": lambda: bmp_of_runs(5600),
    "a PPM in digits": lambda: b"P2\n2800 2800\n255\n" + b"1 " * 2800 * 2800,
}
