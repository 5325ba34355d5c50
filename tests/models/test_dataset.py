"""Data sets as training sees them: what opens, what a batch holds, and what happens to bad samples."""

import logging
import multiprocessing
import os
import pickle
import signal

import numpy as np
import pytest
import torch

from models.data.charset import Charset
from models.dataset import DataError, EpochSampler, Shape, SourceOptions, make_loader, open_dataset
from tests.support.data_samples import WORDS, make_store, make_tree
from tests.support.images import jpeg


def opened(root, split="train", shape=None, **options):
    return open_dataset(root, split, shape or Shape(), Charset(), **options)


def batches(dataset, workers=0, batch_size=3, **options):
    return list(make_loader(dataset, EpochSampler(len(dataset), batch_size, **options), workers, "cpu"))


@pytest.mark.parametrize("place", [".", "Synth90k", "Synth90k/mnt/ramdisk/max/90kDICT32px"])
def test_the_raw_tree_opens_wherever_the_path_points(tmp_path, place):
    make_tree(tmp_path)
    dataset = opened(tmp_path / place)
    assert (dataset.name, dataset.is_sample, len(dataset)) == ("Synth90k", False, len(WORDS))


def test_labels_come_from_the_lexicon_or_from_the_file_name(tmp_path):
    make_tree(tmp_path)
    everything = list(range(len(WORDS)))
    assert opened(tmp_path).__getitems__(everything).texts == WORDS
    data = opened(tmp_path, reading=SourceOptions(labels="name"))
    assert data.__getitems__(everything).texts == [word.upper() for word in WORDS]


def test_a_batch_is_uint8_pictures_and_concatenated_classes(tmp_path):
    make_tree(tmp_path)
    batch = opened(tmp_path).__getitems__([0, 4])
    assert batch.images.shape == (2, 1, 32, 100) and batch.images.dtype == torch.uint8
    assert batch.widths.tolist() == [100, 100] and batch.widths.dtype == torch.int32
    assert batch.lengths.tolist() == [5, 4] and batch.labels.dtype == torch.int32
    assert batch.labels.tolist() == Charset().encode("alpha") + Charset().encode("echo")
    assert batch.weight == 1.0


def test_kept_ratio_pads_to_the_widest_rounded_up_to_four(tmp_path):
    make_tree(tmp_path)
    batch = opened(tmp_path, shape=Shape(width=320, keep_ratio=True)).__getitems__([0, 1])
    assert batch.widths.tolist() == [62, 72]  # 60 and 70 px at height 31
    assert batch.images.shape[3] == 72
    assert (batch.images[0, :, :, 62:] == 128).all() and (batch.images[0, :, :, :62] != 128).any()
    capped = opened(tmp_path, shape=Shape(width=66, keep_ratio=True)).__getitems__([0, 1])
    assert capped.widths.tolist() == [62, 66] and capped.images.shape[3] == 66


def test_colour_pictures_have_three_channels(tmp_path):
    make_tree(tmp_path)
    assert opened(tmp_path, shape=Shape(channels=3)).__getitems__([0]).images.shape == (1, 3, 32, 100)


def test_one_lmdb_serves_every_split_and_a_folder_of_lmdbs_its_own(tmp_path):
    make_store(tmp_path / "one")
    make_store(tmp_path / "many/train", WORDS[:2])
    make_store(tmp_path / "many/val", WORDS[2:5])
    assert len(opened(tmp_path / "one", "train")) == len(opened(tmp_path / "one", "test")) == len(WORDS)
    assert opened(tmp_path / "many", "val").__getitems__([0, 1, 2]).texts == WORDS[2:5]


def test_a_rendered_sample_says_that_it_is_one(tmp_path):
    make_tree(tmp_path)
    (tmp_path / "Synth90k/SAMPLE.json").write_text("{}")
    assert (opened(tmp_path).name, opened(tmp_path).is_sample) == ("Synth90k-sample", True)


def test_the_manifest_changes_with_any_label_and_not_with_time(tmp_path):
    folder = make_tree(tmp_path)
    before = opened(tmp_path).manifest_hash
    assert before == opened(tmp_path).manifest_hash
    annotation = folder / "annotation_train.txt"
    annotation.write_text(annotation.read_text().replace(" 3", " 4"))
    assert opened(tmp_path).manifest_hash != before
    stores = [make_store(tmp_path / name, labels) for name, labels in (("a", ["xy", "z"]), ("b", ["x", "yz"]))]
    assert opened(stores[0]).manifest_hash != opened(stores[1]).manifest_hash


@pytest.mark.parametrize("start_method", ["fork", "spawn"])
def test_workers_read_the_same_as_the_process_itself(tmp_path, start_method):
    dataset = opened(make_store(tmp_path / "lmdb"))
    here = batches(dataset)  # opens the LMDB before the workers start, as training does
    there = make_loader(dataset, EpochSampler(len(dataset), 3), 2, "cpu")
    there.multiprocessing_context = start_method
    there = list(there)
    assert [b.texts for b in there] == [b.texts for b in here]
    assert all(torch.equal(a.images, b.images) for a, b in zip(here, there, strict=True))
    assert all(b.images.is_shared() for b in there)


def test_workers_outlive_the_signal_that_asks_the_whole_group_to_end(tmp_path):
    """`timeout` and Slurm signal every process of a run: the run ends in order, and not by the loss of a worker."""
    dataset = opened(make_store(tmp_path / "lmdb"))
    loader = iter(make_loader(dataset, EpochSampler(len(dataset), 1), 1, "cpu"))
    texts = [next(loader).texts]
    [worker] = multiprocessing.active_children()
    os.kill(worker.pid, signal.SIGTERM)
    texts += [batch.texts for batch in loader]
    assert sum(map(len, texts)) == len(dataset)


def test_a_data_set_can_be_pickled_after_use(tmp_path):
    for root in (make_tree(tmp_path).parent, make_store(tmp_path / "lmdb")):
        dataset = opened(root)
        dataset.__getitems__([0])
        assert pickle.loads(pickle.dumps(dataset)).__getitems__([1]).texts == [WORDS[1]]


def spoil_truncated(folder):
    path = next((folder / "1/2").glob("train2_*"))
    path.write_bytes(path.read_bytes()[:200])


def spoil_zero_bytes(folder):
    next((folder / "1/2").glob("train2_*")).write_bytes(b"")


def spoil_missing(folder):
    next((folder / "1/2").glob("train2_*")).unlink()


def spoil_index(folder):
    annotation = folder / "annotation_train.txt"
    annotation.write_text(annotation.read_text().replace("_2.jpg 2", "_2.jpg 99"))


def spoil_path(folder):
    annotation = folder / "annotation_train.txt"
    annotation.write_text(annotation.read_text().replace("./1/2/train2", "../1/2/train2"))


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("spoil", [spoil_truncated, spoil_zero_bytes, spoil_missing, spoil_index, spoil_path])
def test_a_bad_sample_is_skipped_counted_and_named_once(tmp_path, caplog, spoil, workers):
    spoil(make_tree(tmp_path))
    dataset = opened(tmp_path)
    data = make_loader(dataset, EpochSampler(len(dataset), 3), workers, "cpu")
    for _ in range(2):
        texts = [text for batch in data for text in batch.texts]
        assert sorted(texts) == sorted(set(WORDS) - {"letter"})
    assert len(dataset.reasons) == 1
    lines = [r.message for r in caplog.records if r.levelno == logging.WARNING]
    assert len(lines) == 1 and ("train2_LETTER" in lines[0] or "line 3" in lines[0])


def test_a_batch_of_bad_samples_only_becomes_one_of_weight_zero(tmp_path):
    spoil_truncated(make_tree(tmp_path))
    batch = opened(tmp_path).__getitems__([2])
    assert batch.weight == 0.0 and batch.images.shape == (1, 1, 32, 100) and batch.lengths.tolist() == [1]


def test_a_placeholder_has_weight_zero_and_the_shape_of_a_sample(tmp_path):
    make_tree(tmp_path)
    batch = opened(tmp_path).__getitems__([~3])
    assert batch.weight == 0.0 and batch.texts == ["delta"]


def test_unfit_labels_are_found_before_training_and_left_out(tmp_path):
    words = ["", "na-ive", "committee", "committees", "fine"]  # committee: 9 characters + 3 blanks between doubles
    dataset = opened(make_store(tmp_path, words))
    unfit = dataset.label_issues(time_steps=12)
    assert unfit.found["empty"] == [0] and unfit.found["out_of_charset"] == [1] and unfit.found["long"] == [3]
    assert len(unfit) == 3 and "'committees'" in str(unfit) and "12 time steps" in str(unfit)
    fitting = dataset.without(unfit)
    assert sorted(t for b in batches(fitting) for t in b.texts) == ["committee", "fine"]
    assert len(dataset.label_issues(13)) == 2
    nothing = opened(make_store(tmp_path / "none", ["", "-"]))
    with pytest.raises(DataError, match="no sample is left"):
        nothing.without(nothing.label_issues(9))


def broken(message):
    return pytest.raises(DataError, match=message)


def test_an_unset_or_wrong_path_is_one_clear_line(tmp_path):
    for root, message in [
        ("", "PYTORCH_TRAIN_DATASET"),
        (None, "set PYTORCH_TRAIN_DATASET"),
        (tmp_path / "nowhere", "nowhere: no such folder"),
        (tmp_path, "neither Synth90k"),
    ]:
        with broken(message) as caught:
            opened(root)
        assert "\n" not in str(caught.value)
    with broken("'training' is no split"):
        opened(tmp_path, "training")


@pytest.mark.parametrize(
    "name, what",
    [("annotation_train.txt", "no train split in it"), ("lexicon.txt", "lexicon.txt: the lexicon is missing")],
)
def test_a_tree_without_one_of_its_files_is_named(tmp_path, name, what):
    (make_tree(tmp_path) / name).unlink()
    with broken(what):
        opened(tmp_path)


def test_an_empty_annotation_file_is_refused(tmp_path):
    (make_tree(tmp_path) / "annotation_train.txt").write_text("")
    with broken("annotation_train.txt: no lines"):
        opened(tmp_path)


@pytest.mark.parametrize(
    "count, message",
    [(9, "says 9 but image-000000009 is missing"), (7, "more images than that"), (0, "more images than that")],
)
def test_an_lmdb_whose_count_is_wrong_is_refused(tmp_path, count, message):
    with broken(message):
        opened(make_store(tmp_path, count=count))


def test_a_data_set_with_no_readable_picture_at_its_start_is_refused(tmp_path):
    with broken("none of its first 8 images can be read; the last: .*image-000000008"):
        opened(make_store(tmp_path, images=[b"rubbish"] * 8))


def test_pictures_in_a_batch_are_the_ones_of_their_labels(tmp_path):
    pictures = [jpeg(seed=i) for i in range(8)]
    dataset = opened(make_store(tmp_path, images=pictures))
    alone = np.concatenate([dataset[i].images.numpy() for i in (5, 1)])
    assert (dataset.__getitems__([5, 1]).images.numpy() == alone).all()
    assert not (alone[0] == alone[1]).all()


def test_foreign_characters_drop_a_training_sample_and_are_stripped_from_a_tests_targets(tmp_path, caplog):
    make_store(tmp_path, ["ab", "c-d", "ef"])
    train, test = opened(tmp_path), opened(tmp_path, "test")
    [batch] = batches(train)
    assert (
        sorted(batch.texts) == ["ab", "ef"]
        and len(train.reasons) == 1
        and "image-000000002: label 'c-d' has '-'" in caplog.text
    )
    batch = test.__getitems__([0, 1, 2])
    assert batch.texts == ["ab", "c-d", "ef"] and batch.lengths.tolist() == [2, 2, 2] and not batch.skipped
    assert batch.labels.tolist() == Charset().encode("abcdef")


def test_widths_are_measured_from_headers_for_batches_of_like_widths(tmp_path):
    make_tree(tmp_path)
    data = opened(tmp_path, shape=Shape(width=120, keep_ratio=True))
    assert (
        data.widths().tolist()
        == data.__getitems__(list(range(8))).widths.tolist()
        == [62, 72, 83, 93, 103, 114, 120, 120]
    )


def test_lmdbs_are_closed_before_a_fork_and_open_again_on_both_sides(tmp_path):
    source = opened(make_store(tmp_path)).source
    assert source.label(0) == "alpha" and source._get is not None
    child = os.fork()
    if child == 0:
        os._exit(0 if source._get is None and source.label(1) == "bravo" else 1)
    assert source._get is None and source.label(2) == "letter"
    assert os.waitpid(child, 0)[1] == 0
