"""Packed rows: the same batches as from encoded pictures, refused when cut short, whole on a device."""

import json

import numpy as np
import pytest
import torch

from models.data.charset import Charset
from models.data.packed import PackedWriter
from models.data.resident import ResidentLoader
from models.data.sampler import ShardSampler
from models.dataset import DataError, EpochSampler, Shape, make_loader, open_dataset
from tests.support.data_samples import WORDS, make_store, make_tree
from tests.support.preparation import run


@pytest.fixture(
    params=[Shape(), Shape(width=120, keep_ratio=True), Shape(channels=3)], ids=["fixed", "ratio", "colour"]
)
def both(request, tmp_path):
    """The same training set encoded and packed."""
    shape = request.param
    make_tree(tmp_path)
    options = ["--width", shape.width, "--channels", shape.channels, "--keep-ratio", str(shape.keep_ratio).lower()]
    assert run("--source", tmp_path, "--out", tmp_path / "packed", "--packed=true", *options) is None
    return [open_dataset(root, "train", shape, Charset()) for root in (tmp_path, tmp_path / "packed")]


def same(a, b):
    return (
        all(torch.equal(getattr(a, name), getattr(b, name)) for name in ("images", "widths", "labels", "lengths"))
        and a.texts == b.texts
        and a.weight == b.weight
    )


def test_packed_batches_equal_encoded_ones(both):
    encoded, packed = both
    assert packed.name == "Synth90k" and len(packed) == len(encoded)
    for indices in ([5, 0, 3], [~2], [0], list(range(8))):
        assert same(encoded.__getitems__(indices), packed.__getitems__(indices))
    assert encoded.widths().tolist() == packed.widths().tolist()


def test_the_whole_on_a_device_gives_the_batches_of_a_loader(tmp_path):
    make_tree(tmp_path)
    run("--source", tmp_path, "--out", tmp_path / "packed", "--packed=true")
    data = open_dataset(tmp_path / "packed", "train", Shape(), Charset())
    sampler = EpochSampler(len(data), 3, seed=1)
    resident = ResidentLoader(data, sampler, "cpu")
    assert len(resident) == 3
    assert all(same(a, b) for a, b in zip(resident, make_loader(data, sampler, 2, "cpu"), strict=True))
    with pytest.raises(DataError, match="not packed"):
        ResidentLoader(open_dataset(tmp_path, "train", Shape(), Charset()), sampler, "cpu")


def test_each_device_holds_its_share_alone_and_gives_the_batches_of_a_loader(tmp_path):
    make_tree(tmp_path)
    run("--source", tmp_path, "--out", tmp_path / "packed", "--packed=true")
    whole = open_dataset(tmp_path / "packed", "train", Shape(), Charset())
    data = whole.part(np.array([6, 1, 2, 5, 0], np.uint32))  # as where labels were left out
    for rank in range(3):
        sampler = ShardSampler(len(data), 1, seed=1, rank=rank, world=3)
        shard = ResidentLoader(data, sampler, "cpu", sharded=True)
        assert len(shard.images) == (2, 2, 1)[rank]
        found, wanted = list(shard), list(make_loader(data, sampler, 0, "cpu"))
        assert [batch.weight for batch in found] == [batch.weight for batch in wanted] == [1, rank < 2]
        assert all(same(a, b) for a, b in zip(found, wanted, strict=True) if a.weight)
    with pytest.raises(ValueError, match="another rank's share"):
        list(ResidentLoader(data, EpochSampler(5, 2, seed=1, rank=0, world=2), "cpu", sharded=True))
    with pytest.raises(DataError, match="no share for each of 6 cards"):
        ResidentLoader(data, ShardSampler(5, 1, rank=5, world=6), "cpu", sharded=True)


def write(folder, texts, finish=True):
    writer = PackedWriter(folder, "source", Shape(), "made", False)
    n = len(texts)
    writer.add(n + 1, np.zeros((n, 1, 32, 100), np.uint8), np.full(n, 100, np.int32), texts, ["one is broken"])
    if finish:
        writer.finish()
    writer.close()
    return folder


def test_texts_of_any_script_and_none_come_back(tmp_path):
    texts = ["", "ab", "中文", "", "é"]
    source = open_dataset(write(tmp_path, texts), "train", Shape(), Charset("ab")).source
    assert source.texts(0, 5) == texts and source.texts(2, 4) == texts[2:4]
    assert source.words(np.array([4, 0, 2]))[1] == ["é", "", "中文"]


def test_another_shape_than_it_was_packed_with_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"packed as .*width=100.*asked for as .*width=128"):
        open_dataset(write(tmp_path, WORDS), "train", Shape(width=128), Charset())


def cut(path):
    path.write_bytes(path.read_bytes()[:-100])


def shorten(path):
    about = json.loads(path.read_text())
    path.write_text(json.dumps({**about, "count": 3}))


@pytest.mark.parametrize(
    "name, spoil, message",
    [
        ("images.npy", cut, "cut short"),
        ("texts.bin", lambda p: p.write_bytes(p.read_bytes()[:-1]), "not as long as"),
        ("packed.json", shorten, "its header is not for"),
        ("packed.json", lambda p: p.write_text("{}"), "not what `prepare --packed` writes"),
        ("widths.npy", lambda p: p.unlink(), "widths.npy"),
    ],
)
def test_a_packed_folder_that_is_not_whole_is_refused(tmp_path, name, spoil, message):
    spoil(write(tmp_path, WORDS) / name)
    with pytest.raises(DataError, match=message):
        open_dataset(tmp_path, "train", Shape(), Charset())


def test_a_killed_packing_continues_from_its_last_whole_chunk(tmp_path):
    write(tmp_path, ["a", "b"], finish=False)
    for name in ("images.npy", "texts.bin", "ends.npy"):
        with (tmp_path / name).open("ab") as file:
            file.write(b"half a chunk that was never noted")
    assert PackedWriter(tmp_path, "source", Shape(), "made", False).progress.consumed == 3
    write(tmp_path, ["c"])
    source = open_dataset(tmp_path, "train", Shape(), Charset()).source
    assert source.texts(0, 3) == ["a", "b", "c"] and source.images.shape == (3, 1, 32, 100)
    with pytest.raises(DataError, match=r"3 samples of another source, .* --overwrite"):
        PackedWriter(tmp_path, "another", Shape(), "made", False)


@pytest.mark.parametrize("packed", ["true", "false"])
def test_packed_rows_are_not_written_anew(tmp_path, packed):
    write(tmp_path / "in/train", WORDS)
    refusal = run("--source", tmp_path / "in", "--out", tmp_path / "out", f"--packed={packed}")
    assert "converted" in refusal and "\n" not in refusal and not (tmp_path / "out").exists()


def test_packed_rows_are_not_mixed(tmp_path):
    write(tmp_path / "a", WORDS)
    make_store(tmp_path / "b")
    with pytest.raises(DataError, match="packed images cannot be mixed"):
        open_dataset(f"{tmp_path}/a:0.5,b:0.5", "train", Shape(), Charset())
