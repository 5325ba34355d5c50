"""Small data sets that tests make: pictures of random greys, in every layout that is read."""

from __future__ import annotations

import io
from pathlib import Path

import lmdb
import numpy as np
import simplejpeg
from PIL import Image

WORDS = ["alpha", "bravo", "letter", "delta", "echo", "foxtrot", "golf", "hotel"]


def grey(height: int = 31, width: int = 90, seed: int = 0) -> np.ndarray:
    """A smooth random picture (h, w, 1), so that JPEG and resizing change it little."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 8), np.uint8)
    smooth = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(smooth)[:, :, None].copy()


def jpeg(height: int = 31, width: int = 90, seed: int = 0) -> bytes:
    return simplejpeg.encode_jpeg(grey(height, width, seed), 95, colorspace="GRAY")


def encoded(picture: Image.Image, kind: str, **options) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def make_tree(root: Path, words=WORDS, splits=("train", "val", "test")) -> Path:
    """A raw Synth90k tree under `root` in which every split has one picture a word. Gives the 90kDICT32px folder."""
    folder = root / "Synth90k/mnt/ramdisk/max/90kDICT32px"
    (folder / "1/2").mkdir(parents=True)
    (folder / "lexicon.txt").write_text("\n".join(words) + "\n")
    for split in splits:
        lines = [f"./1/2/{split}{i}_{word.upper()}_{i}.jpg {i}" for i, word in enumerate(words)]
        (folder / f"annotation_{split}.txt").write_text("\n".join(lines) + "\n")
        for i, line in enumerate(lines):
            picture = jpeg(width=60 + 10 * i, seed=1000 * splits.index(split) + i)
            (folder / line.split()[0]).write_bytes(picture)
    return folder


def make_store(folder: Path, labels=WORDS, pictures=None, count: int | None = None) -> Path:
    """An LMDB as the field's tools write it."""
    folder.mkdir(parents=True, exist_ok=True)
    pictures = pictures or [jpeg(seed=i) for i in range(len(labels))]
    with lmdb.open(str(folder), map_size=1 << 26) as environment, environment.begin(write=True) as writing:
        for i, (label, picture) in enumerate(zip(labels, pictures, strict=True), 1):
            writing.put(b"image-%09d" % i, picture)
            writing.put(b"label-%09d" % i, label.encode() if isinstance(label, str) else label)
        writing.put(b"num-samples", b"%d" % (len(labels) if count is None else count))
    return folder
