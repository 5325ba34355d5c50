"""Data sets of strangers: nothing outside them is read, nothing waits without end, nothing forges a line of a log."""

from __future__ import annotations

import json
import logging
import os

import lmdb
import pytest

from bench.errors import UserError
from models import prepare
from models.data.charset import Charset
from models.data.files import FOLLOW_LINKS, stays_inside
from models.dataset import Shape, open_dataset
from tests.support.data_samples import make_store, make_tree
from tests.support.images import jpeg

FORGED = "\x1b]0;owned\x07\x1b[31m\nERROR forged\u202e"


@pytest.fixture(autouse=True)
def no_answers_from_another_test():
    stays_inside.cache_clear()
    yield
    stays_inside.cache_clear()


@pytest.fixture
def secret(tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret.jpg").write_bytes(jpeg())
    return tmp_path / "outside" / "secret.jpg"


def listed(root, *lines):
    root.mkdir(exist_ok=True)
    (root / "a.jpg").write_bytes(jpeg())
    (root / "gt.txt").write_text("\n".join(["a.jpg\tinside", *lines]) + "\n", encoding="utf8")
    return root


def read(root, split="train"):
    data = open_dataset(root, split, Shape(), Charset())
    batch = data.__getitems__(list(range(len(data))))
    data.note(batch)
    return batch.texts, " ".join(batch.skipped.values())


@pytest.mark.parametrize("path", ["{secret}", "../outside/secret.jpg", "x/../../outside/secret.jpg"])
def test_a_line_cannot_lead_out(path, tmp_path, secret):
    texts, reasons = read(listed(tmp_path / "data", path.format(secret=secret) + "\tstolen"))
    assert texts == ["inside"]
    assert "leads out of the data set" in reasons and "--image-root DIR says where images lie" in reasons


def test_an_annotation_of_synth90k_cannot_lead_out(tmp_path, secret):
    folder = make_tree(tmp_path / "data")
    with (folder / "annotation_train.txt").open("a") as file:
        file.write(f"{secret} 1\n../../../../../../outside/secret.jpg 1\n./1/2/0_A_1.jpg {'9' * 5000}\n")
    texts, reasons = read(tmp_path / "data")
    assert len(texts) == 8
    assert reasons.count("leads out of the data set") == 2
    assert "is not a line of lexicon.txt" in reasons


@pytest.mark.parametrize("path", ["link.jpg", "folder/secret.jpg", "folder/deeper/secret.jpg"])
def test_a_link_cannot_lead_out_unless_it_is_allowed(path, tmp_path, secret, monkeypatch):
    (secret.parent / "deeper").mkdir()
    (secret.parent / "deeper" / "secret.jpg").write_bytes(jpeg())
    root = listed(tmp_path / "data", f"{path}\tstolen")
    (root / "link.jpg").symlink_to(secret)
    (root / "folder").symlink_to(secret.parent)
    texts, reasons = read(root)
    assert texts == ["inside"]
    assert f"{FOLLOW_LINKS}=1" in reasons
    stays_inside.cache_clear()
    monkeypatch.setenv(FOLLOW_LINKS, "1")
    assert read(root)[0] == ["inside", "stolen"]


def test_links_as_clusters_have_them_work(tmp_path):
    """The root, a split and an LMDB may be links, and so may an image whose link stays inside."""
    make_tree(tmp_path / "far")
    (tmp_path / "root").symlink_to(tmp_path / "far")
    assert len(read(tmp_path / "root")[0]) == 8
    make_store(tmp_path / "scratch")
    (tmp_path / "splits").mkdir()
    (tmp_path / "splits" / "train").symlink_to(tmp_path / "scratch")
    assert len(read(tmp_path / "splits")[0]) == 8
    root = listed(tmp_path / "data", "b.jpg\tsame")
    (root / "b.jpg").symlink_to("a.jpg")
    assert read(root)[0] == ["inside", "same"]


def test_nothing_waits_or_fills_the_memory(tmp_path):
    """A FIFO, an endless device and a terabyte of holes among the images, a FIFO among the lists."""
    root = listed(tmp_path / "data", "fifo.jpg\tx", "zero.jpg\tx", "huge.jpg\tx", "folder.jpg\tx")
    os.mkfifo(root / "fifo.jpg")
    os.mkfifo(root / "other.txt")
    (root / "zero.jpg").symlink_to("/dev/zero")
    (root / "folder.jpg").mkdir()
    with (root / "huge.jpg").open("wb") as file:
        file.truncate(1 << 40)
    texts, reasons = read(root)
    assert texts == ["inside"]
    assert reasons.count("no plain file") == 2


def test_a_fifo_is_not_waited_for_where_links_are_allowed(tmp_path, monkeypatch):
    monkeypatch.setenv(FOLLOW_LINKS, "1")
    root = listed(tmp_path / "data", "zero.jpg\tx")
    (root / "zero.jpg").symlink_to("/dev/zero")
    assert read(root)[0] == ["inside"]


def test_names_and_labels_forge_no_line_of_a_log(tmp_path, capsys, caplog):
    make_store(tmp_path / "db" / "train", [FORGED, "good", FORGED], [b"\x1b[31mno image", jpeg(), jpeg()])
    (tmp_path / "db" / "dataset.json").write_text(json.dumps({"name": FORGED, "sample": "yes"}))
    listed(tmp_path / "list", f"\x1b[31mb{FORGED[:3]}.jpg\tx", "b\u202e.jpg\ty\x1b[0m")
    with caplog.at_level(logging.WARNING):
        read(tmp_path / "db")
        read(tmp_path / "list")
    for root in ("db/train", "list"):
        words = ["--source", str(tmp_path / root), "--workers", "1"]
        prepare.main([*words, "--out", str(tmp_path / "out" / root), "--tolerate", "1"])
        prepare.main([*words, "--audit"])
    said = capsys.readouterr()
    everything = [*said.out.splitlines(), *said.err.splitlines(), *(r.getMessage() for r in caplog.records)]
    assert len(everything) > 10
    assert [line for line in everything if any(c in line for c in "\x1b\x07\u202e\n")] == []
    assert [line for line in everything if line.startswith("ERROR")] == []


def put(folder, **values):
    with lmdb.open(str(folder), map_size=1 << 26) as environment, environment.begin(write=True) as writing:
        for key, value in values.items():
            writing.put(key.replace("_", "-").encode(), value)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"num_samples": b"9" * 5000}, "no num-samples"),
        ({"num_samples": b"\x1b[31m"}, "no num-samples"),
        ({"num_samples": b"999999999", "image_999999999": jpeg(), "label_999999999": b"x"}, "there are 19 keys"),
        ({"prepare_progress": b"[]"}, "unfinished"),
        ({"prepare_progress": b"[" * 100_000}, "unfinished"),
        ({"prepare_progress": b'{"finished": 1}'}, "unfinished"),
    ],
)
def test_an_lmdb_that_lies_about_itself(values, said, tmp_path):
    make_store(tmp_path / "db")
    put(tmp_path / "db", **values)
    with pytest.raises(UserError, match=said):
        read(tmp_path / "db")


def test_a_label_of_megabytes_is_skipped(tmp_path):
    make_store(tmp_path / "db", ["x" * (5 << 20), "good"], [jpeg(), jpeg()])
    texts, reasons = read(tmp_path / "db")
    assert texts == ["good"]
    assert "5,242,880 bytes, more than 10,000" in reasons
    data = open_dataset(tmp_path / "db", "train", Shape(), Charset())
    assert len(data.label_issues(26).found["broken"]) == 1
    assert read(listed(tmp_path / "list", "a.jpg\t" + "x" * (5 << 20)))[0] == ["inside"]


@pytest.mark.parametrize("content", ['{"a.jpg": "\\ud800"}', '{"\\udfff.jpg": "x"}', "[" * 100_000])
def test_json_that_is_no_text_is_one_line(content, tmp_path):
    (tmp_path / "labels.json").write_text(content)
    (tmp_path / "a.jpg").write_bytes(jpeg())
    with pytest.raises(UserError) as refused:
        read(tmp_path)
    assert "\n" not in str(refused.value)


def test_a_file_name_that_is_no_text_is_read(tmp_path):
    (tmp_path / os.fsdecode(b"caf\xe9_1.jpg")).write_bytes(jpeg())
    prepare.main(["--source", str(tmp_path), "--out", str(tmp_path / "out"), "--workers", "1"])
    assert open_dataset(tmp_path / "out", "train", Shape(), Charset("caf\ufffd")).source.label(0) == "caf\ufffd"
