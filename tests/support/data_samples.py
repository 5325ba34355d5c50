"""Small data sets that tests make: images of random greys, in every layout that is read."""

from __future__ import annotations

from pathlib import Path

import lmdb

from tests.support.images import jpeg

WORDS = ["alpha", "bravo", "letter", "delta", "echo", "foxtrot", "golf", "hotel"]


def make_tree(root: Path, words=WORDS, splits=("train", "val", "test")) -> Path:
    """A raw Synth90k tree under `root` in which every split has one image a word. Gives the 90kDICT32px folder."""
    folder = root / "Synth90k/mnt/ramdisk/max/90kDICT32px"
    (folder / "1/2").mkdir(parents=True)
    (folder / "lexicon.txt").write_text("\n".join(words) + "\n")
    for split in splits:
        lines = [f"./1/2/{split}{i}_{word.upper()}_{i}.jpg {i}" for i, word in enumerate(words)]
        (folder / f"annotation_{split}.txt").write_text("\n".join(lines) + "\n")
        for i, line in enumerate(lines):
            image = jpeg(width=60 + 10 * i, seed=1000 * splits.index(split) + i)
            (folder / line.split()[0]).write_bytes(image)
    return folder


def make_store(folder: Path, labels=WORDS, images=None, count: int | None = None) -> Path:
    """An LMDB as the field's tools write it."""
    folder.mkdir(parents=True, exist_ok=True)
    images = images or [jpeg(seed=i) for i in range(len(labels))]
    with lmdb.open(str(folder), map_size=1 << 26) as environment, environment.begin(write=True) as writing:
        for i, (label, image) in enumerate(zip(labels, images, strict=True), 1):
            writing.put(b"image-%09d" % i, image)
            writing.put(b"label-%09d" % i, label.encode() if isinstance(label, str) else label)
        writing.put(b"num-samples", b"%d" % (len(labels) if count is None else count))
    return folder
