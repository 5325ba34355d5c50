"""Images of strangers, in files and in LMDB: bounded in time and memory. More: `python -m tests.support.mutated`."""

from __future__ import annotations

import time

import pytest
from PIL import EpsImagePlugin, Image

from models.data.charset import Charset
from models.data.files import LARGEST, UnreadableError
from models.data.image import decode, image_size
from models.dataset import Shape, open_dataset
from tests.support import mutated
from tests.support.data_samples import make_store
from tests.support.images import jpeg

REFUSED = {
    "PNG of 65,000 x 65,000 px": "exceeds limit|are too many",
    "JPEG of 8,000 x 8,000 px": "4,194,304 at most",
    "JPEG of 20,000 scans": "a JPEG of 20,0.. scans",
    "TIFF of 100,000 tiles": "more than",
    "GIF with a screen of 65,000 x 65,000 px": "exceeds limit|are too many",
    "PostScript, which Pillow gives to Ghostscript": "not an image that can be read",
    "17 MB of nothing": f"more than {LARGEST:,}",
}


@pytest.fixture(scope="module")
def bombs():
    return {name: make() for name, make in mutated.BOMBS.items()}


@pytest.mark.parametrize("name", mutated.BOMBS)
def test_a_bomb_is_read_or_refused_at_once(name, bombs):
    began = time.perf_counter()
    if name in REFUSED:
        with pytest.raises(UnreadableError, match=REFUSED[name]):
            decode(bombs[name])
    else:
        decode(bombs[name])
    assert time.perf_counter() - began < 5  # 100 s for the scans before they were counted


def test_the_size_alone_is_asked_for_safely(bombs):
    for content in bombs.values():
        try:
            assert min(image_size(content)) > 0
        except UnreadableError as error:
            assert str(error)


def test_two_thousand_mutated_images():
    counts, slowest = mutated.tried(mutated.mutated(2_000, seed=2))
    assert counts["read"] + counts["refused"] == 2_000
    assert min(counts.values()) > 200
    assert slowest < 5


def test_mutated_images_in_an_lmdb_are_skipped_and_counted(tmp_path):
    images = [jpeg(), *mutated.mutated(300, seed=3), mutated.BOMBS["JPEG of 20,000 scans"]()]
    make_store(tmp_path / "db", [f"w{i}" for i in range(len(images))], images)
    data = open_dataset(tmp_path / "db", "train", Shape(keep_ratio=True), Charset())
    assert len(data.widths()) == len(data)
    batch = data.__getitems__(list(range(len(data))))
    assert len(batch.texts) + len(batch.skipped) == len(images)
    assert len(batch.texts) > 30 < len(batch.skipped)
    assert "scans" in batch.skipped[len(images) - 1]


def test_no_program_is_started_for_an_image(monkeypatch):
    """What the decoder raises becomes a refusal, so that it is not enough to raise where a program would be started."""
    started = []
    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *arguments, **options: started.append(arguments))
    with pytest.raises(UnreadableError):
        decode(mutated.BOMBS["PostScript, which Pillow gives to Ghostscript"]() + b"\n%%EndComments\nshowpage\n%%EOF\n")
    assert started == []


def test_ordinary_progressive_images_stay_readable():
    noise = Image.effect_noise((400, 300), 60)
    content = mutated.saved(noise.convert("RGB"), "JPEG", progressive=True, quality=95)
    assert len(content) > 1 << 14
    assert decode(content, 3).shape == (300, 400, 3)


@pytest.mark.parametrize("sizes", [(32, 10**9, 1), (10**6, 10**6, 1), ("32", 100, 1), (32, None, 1)])
def test_a_shape_that_would_take_all_memory_is_refused(sizes):
    with pytest.raises(ValueError, match="cannot be used"):
        Shape(*sizes)
