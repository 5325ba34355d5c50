"""A data set is its labels and its images: any change of either is seen, a change of name or of place is none."""

import shutil

import pytest

from models.data import digest
from models.data.digest import digest_data, digested_images
from models.data.formats import SourceOptions
from models.data.opening import open_source
from tests.support.data_samples import WORDS, make_store, make_tree
from tests.support.images import jpeg
from tests.support.preparation import run


def listed(folder, labels=("one", "two", "three"), seeds=(0, 1, 2)):
    folder.mkdir(parents=True)
    for seed, number in zip(seeds, range(3), strict=True):
        (folder / f"{number}.jpg").write_bytes(jpeg(seed=seed))
    (folder / "labels.tsv").write_text("".join(f"{i}.jpg\t{label}\n" for i, label in enumerate(labels)))
    return digest_data(open_source(folder, "train"))


def test_only_content_counts(tmp_path):
    first = listed(tmp_path / "first")
    assert (first.images, first.sampled) == (3, False)
    assert listed(tmp_path / "elsewhere/under another name") == first
    assert listed(tmp_path / "corrected", labels=("one", "two", "tree")) != first
    assert listed(tmp_path / "swapped", labels=("two", "one", "three")) != first
    assert listed(tmp_path / "moved end", labels=("onet", "wo", "three")) != first
    assert listed(tmp_path / "another image", seeds=(0, 1, 9)) != first


def test_a_tree_and_the_lmdb_made_of_it_are_the_same_data(tmp_path):
    make_tree(tmp_path)
    run("--source", tmp_path, "--out", tmp_path / "lmdb")
    for split in ("train", "val", "test"):
        assert digest_data(open_source(tmp_path, split)) == digest_data(open_source(tmp_path / "lmdb", split))


@pytest.mark.parametrize("lost", ["image", "label"])
def test_what_cannot_be_read_is_part_of_it(tmp_path, lost):
    shutil.copytree(make_store(tmp_path / "whole"), tmp_path / "hole")
    labels = [*WORDS[:-1], b"\xff"] if lost == "label" else WORDS
    images = [*(jpeg(seed=i) for i in range(7)), b""] if lost == "image" else None
    make_store(tmp_path / "hole", labels, images)
    whole, hole = (digest_data(open_source(tmp_path / name, "train", SourceOptions())) for name in ("whole", "hole"))
    assert whole != hole and hole.images == 8


def test_of_many_images_a_sample_counts_which_is_the_same_each_time(tmp_path, monkeypatch):
    monkeypatch.setattr(digest, "ALL_IMAGES", 100)
    monkeypatch.setattr(digest, "SAMPLE", 30)
    assert digested_images(100) == range(100)
    numbers = digested_images(1000)
    assert 25 < len(numbers) <= 30 and numbers == sorted(set(numbers)) == digested_images(1000)
    images = [jpeg(seed=i) for i in range(101)]
    labels = [f"w{i}" for i in range(101)]
    full = digest_data(open_source(make_store(tmp_path / "a", labels, images), "train"))
    assert full.sampled and full.images == len(digested_images(101))
    taken = digested_images(101)[0]
    left_out = next(i for i in range(101) if i not in digested_images(101))
    for changed, seen in ((taken, True), (left_out, False)):
        others = [jpeg(seed=900) if i == changed else image for i, image in enumerate(images)]
        store = make_store(tmp_path / f"b{changed}", labels, others)
        assert (digest_data(open_source(store, "train")) != full) is seen
    store = make_store(tmp_path / "c", ["changed" if i == left_out else one for i, one in enumerate(labels)], images)
    assert digest_data(open_source(store, "train")) != full  # every label counts
