"""Readers meet anything: they give samples or one clear line, never a hang, never another exception."""

import io
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from bench.errors import UserError
from models.data.charset import Charset
from models.data.files import UnreadableError
from models.data.image import decode
from models.data.packed import PackedWriter
from models.dataset import Shape, open_dataset
from tests.support.images import jpeg
from tests.support.layouts import MAKERS

FUZZ = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
LISTED = [
    "a.jpg\tx", "a.jpg x", "a.jpg 1 2", "a01-000u-00-00 ok 1 2 3 4 5 AT x", "/etc/passwd x", "../a.jpg\ty",
    "./1/2/3_WORD_4.jpg 4", "#", "", 'a.jpg, "x"', "a.jpg\t", '{"a.jpg": "x"}',
]  # fmt: skip
LINES = st.lists(st.one_of(st.sampled_from(LISTED), st.text(max_size=30)), max_size=6)
NAMES = ["gt.txt", "labels.tsv", "labels.json", "words.txt", "annotation_train.txt", "lexicon.txt", "alphabet.txt"]


def read_all(root):
    """Every sample, or the refusal. Anything else that is raised fails the test."""
    try:
        data = open_dataset(root, "train", Shape(), Charset())
        data.label_issues(26)
        batch = data.__getitems__(list(range(len(data))))
        assert len(batch.texts) == len(batch.images) == len(batch.lengths)
        assert len(batch.texts) + len(batch.skipped) >= len(data)
        return data.manifest_hash
    except UserError as refusal:
        assert str(refusal) and "\n" not in str(refusal)


def in_a_folder(fill):
    folder = Path(tempfile.mkdtemp())
    try:
        fill(folder)
        read_all(folder)
    finally:
        shutil.rmtree(folder)


@FUZZ
@given(
    st.sampled_from(NAMES),
    LINES,
    st.sampled_from(["utf-8", "utf-16", "latin-1"]),
    st.sampled_from(["\n", "\r\n", "\r"]),
)
def test_lists_of_anything(name, lines, encoding, end):
    def fill(folder):
        (folder / "a.jpg").write_bytes(jpeg())
        (folder / name).write_bytes(end.join(lines).encode(encoding, "replace"))

    in_a_folder(fill)


@FUZZ
@given(st.sampled_from(NAMES), st.binary(max_size=300))
def test_lists_of_rubbish(name, content):
    in_a_folder(lambda folder: (folder / name).write_bytes(content))


def fill_every_kind(folder, name):
    if name == "packed":
        writer = PackedWriter(folder, "source", Shape(), "made", False)
        writer.add(2, np.zeros((2, 1, 32, 100), np.uint8), np.full(2, 100), ["a", "b"], [])
        writer.finish()
        writer.close()
    else:
        MAKERS[name](folder)


@pytest.mark.parametrize("name", [*MAKERS, "packed"])
@FUZZ
@given(data=st.data())
def test_every_format_with_bytes_changed_or_cut(name, data):
    """Take a good data set, spoil one of its files somewhere."""

    def fill(folder):
        fill_every_kind(folder, name)
        files = sorted(p for p in folder.rglob("*") if p.is_file() and p.name != "lock.mdb")
        path = data.draw(st.sampled_from(files))
        content = bytearray(path.read_bytes())
        at = data.draw(st.integers(0, max(0, min(len(content), 20_000) - 1)))
        # LMDB has no checksums: a wrong byte inside its pages is undefined in the C library. A cut one is not.
        if path.name == "data.mdb" or data.draw(st.booleans()):
            del content[at:]
        else:
            content[at : at + 8] = data.draw(st.binary(min_size=1, max_size=8))
        path.write_bytes(content)

    in_a_folder(fill)


@settings(max_examples=300, deadline=None)
@given(data=st.data(), kind=st.sampled_from(["JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM"]))
def test_spoiled_images_are_read_or_unreadable(data, kind):
    buffer = io.BytesIO()
    Image.new("L", (40, 20), 99).save(buffer, kind)
    content = bytearray(buffer.getvalue())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        image = decode(bytes(content[: data.draw(st.integers(1, len(content)))]))
        assert image.ndim == 3 and image.shape[2] == 1
    except UnreadableError as refusal:
        assert "\n" not in str(refusal)
