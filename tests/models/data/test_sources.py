"""Every layout that is read: recognised by itself, its labels right, and told apart from its neighbours."""

import pickle

import numpy as np
import pytest

from models.data.combined import Part
from models.data.files import DataError, Lines, UnreadableError
from models.data.formats import FORMATS, SourceOptions
from models.data.opening import has_splits, locate, open_source
from tests.support.data_samples import WORDS, make_store
from tests.support.layouts import MAKERS, TEXTS, make_bare_icdar, make_integers, make_tab, write_images


def texts(source):
    return [source.label(i) for i in range(len(source))]


@pytest.mark.parametrize("name", MAKERS)
def test_a_format_is_recognised_and_read(tmp_path, name):
    expected = MAKERS[name](tmp_path)
    source = open_source(tmp_path, "train")
    assert texts(source) == expected
    assert all(bytes(source.encoded(i))[:2] == b"\xff\xd8" for i in range(len(source)))
    assert texts(open_source(tmp_path, "train", SourceOptions(format=name))) == expected
    assert source.manifest() == open_source(tmp_path, "train").manifest()


def test_every_format_has_a_test():
    assert set(MAKERS) | {"packed"} == {row.name for row in FORMATS}


def test_icdar_without_quotes_is_read_too(tmp_path):
    expected = make_bare_icdar(tmp_path)
    assert (
        locate(tmp_path, "train", SourceOptions())[0].format == "icdar"
        and texts(open_source(tmp_path, "train")) == expected
    )


def test_a_list_can_be_named_instead_of_its_folder(tmp_path):
    make_tab(tmp_path)
    assert texts(open_source(tmp_path / "labels.tsv", "train")) == TEXTS


def test_splits_have_their_own_lists_and_folders_by_any_usual_name(tmp_path):
    write_images(tmp_path, ["a.jpg", "b.jpg"])
    (tmp_path / "train.txt").write_text("a.jpg\tx\n")
    (tmp_path / "dev.txt").write_text("b.jpg\ty\n")
    make_store(tmp_path / "testing", ["z"])
    assert [texts(open_source(tmp_path, split)) for split in ("train", "val", "test")] == [["x"], ["y"], ["z"]]
    assert all(has_splits(tmp_path, SourceOptions(), split) for split in ("train", "val", "test"))


def test_a_split_is_asked_for_by_name_where_only_another_has_its_own_list(tmp_path):
    write_images(tmp_path, ["a.jpg"])
    (tmp_path / "train.txt").write_text("a.jpg\tx\n")
    assert texts(open_source(tmp_path, "val")) == ["x"]
    assert has_splits(tmp_path, SourceOptions()) and not has_splits(tmp_path, SourceOptions(), "val")
    assert not has_splits(f"{tmp_path}:1,{tmp_path}:1", SourceOptions(), "val")


def test_two_lists_without_splits_are_a_question(tmp_path):
    write_images(tmp_path, ["a.jpg"])
    for name in ("first.txt", "second.txt"):
        (tmp_path / name).write_text("a.jpg\tx\n")
    with pytest.raises(DataError, match=r"several lists \(first.txt, second.txt\)"):
        open_source(tmp_path, "train")


def test_lmdbs_called_by_split_serve_that_split_only(tmp_path):
    for name, labels in (("MJ/MJ_train", ["a"]), ("MJ/MJ_valid", ["b"]), ("ST_train", ["c"]), ("SynthAdd", ["d"])):
        make_store(tmp_path / name, labels)
    assert texts(open_source(tmp_path, "train")) == ["a", "c", "d"]  # whose name is no split
    assert texts(open_source(tmp_path, "val")) == ["b"]
    with pytest.raises(DataError, match="nothing is called test, there are train and val"):
        open_source(tmp_path, "test")


def test_a_mix_gives_each_source_its_share_and_shows_every_sample(tmp_path):
    make_store(tmp_path / "MJ", [f"m{i}" for i in range(30)])
    make_store(tmp_path / "ST", [f"s{i}" for i in range(4)])
    mix = open_source(f"{tmp_path}/MJ:0.5,ST:0.5", "train")
    seen = texts(mix)
    assert len(seen) == 60 and sum(t[0] == "m" for t in seen) == 30
    assert set(seen) == {f"m{i}" for i in range(30)} | {f"s{i}" for i in range(4)}
    assert len(open_source(f"{tmp_path}/MJ:0.5,{tmp_path}/ST:0.5", "test")) == 34  # testing counts each sample once
    assert open_source(f"{tmp_path}/MJ:0.5,ST:0.4", "train").manifest() != mix.manifest()
    with pytest.raises(DataError, match="ST2: no such folder"):
        open_source(f"{tmp_path}/MJ:0.5,ST2:0.5", "train")
    with pytest.raises(DataError, match="above 0"):
        open_source(f"{tmp_path}/MJ:0.5,ST:0.0", "train")


def test_a_split_by_ratio_is_a_partition_and_follows_its_seed(tmp_path):
    make_store(tmp_path, [f"w{i}" for i in range(100)])
    options = SourceOptions(ratio=(0.8, 0.1, 0.1), seed=4)
    parts = [texts(open_source(tmp_path, split, options)) for split in ("train", "val", "test")]
    assert [len(part) for part in parts] == [80, 10, 10] and len({t for part in parts for t in part}) == 100
    assert parts[1] == texts(open_source(tmp_path, "val", SourceOptions(ratio=(0.8, 0.1, 0.1), seed=4)))
    assert parts[1] != texts(open_source(tmp_path, "val", SourceOptions(ratio=(0.8, 0.1, 0.1), seed=5)))
    with pytest.raises(DataError, match="add up to 1"):
        open_source(tmp_path, "val", SourceOptions(ratio=(0.8, 0.1, 0.2)))
    with pytest.raises(DataError, match="leaves val empty"):
        open_source(tmp_path, "val", SourceOptions(ratio=(1.0, 0.0, 0.0)))


def test_synth90ks_annotations_without_the_lexicon_are_not_taken_for_labels(tmp_path):
    """Learning the lexicon's line numbers instead of its words is what one peer does."""
    write_images(tmp_path, ["2697/6/466_MONIKER_49537.jpg"])
    (tmp_path / "annotation.txt").write_text("./2697/6/466_MONIKER_49537.jpg 49537\n")
    with pytest.raises(DataError, match=r"put lexicon.txt beside it"):
        open_source(tmp_path, "train")


@pytest.mark.parametrize("path", ["/etc/hostname.jpg", "../outside.jpg", "a/../../outside.jpg"])
def test_paths_that_leave_the_root_are_refused(tmp_path, path):
    inside = tmp_path / "in"
    write_images(inside, ["a.jpg"])
    write_images(tmp_path, ["outside.jpg"])
    (inside / "gt.txt").write_text(f"a.jpg\tx\n{path}\ty\n")
    source = open_source(inside, "train")
    with pytest.raises(UnreadableError, match="leads out of the data set"):
        source.encoded(1)


def test_a_list_in_another_encoding_is_refused_until_it_is_named(tmp_path):
    write_images(tmp_path, ["a.jpg"])
    (tmp_path / "gt.txt").write_bytes("a.jpg\t中文\n".encode("gb18030"))
    with pytest.raises(DataError, match=r"not utf-8 .*say --encoding"):
        open_source(tmp_path, "train")
    assert texts(open_source(tmp_path, "train", SourceOptions(encoding="gb18030"))) == ["中文"]


@pytest.mark.parametrize("encoding", ["gbk18030", "", "base64", "undefined", "a\0b"])
def test_an_encoding_that_is_none_is_one_line(encoding):
    with pytest.raises(DataError, match="no encoding") as caught:
        SourceOptions(encoding=encoding)
    assert "\n" not in str(caught.value) and "\0" not in str(caught.value)


def test_integers_outside_the_charset_name_their_line(tmp_path):
    make_integers(tmp_path)
    (tmp_path / "train.txt").write_text("1.jpg 1 2\n2.jpg 0\n")
    with pytest.raises(DataError, match=r"'2\.jpg 0'"):
        texts(open_source(tmp_path, "train"))


def test_a_line_that_is_not_of_the_list_names_itself(tmp_path):
    make_tab(tmp_path)
    (tmp_path / "labels.tsv").write_text("images/0.jpg\tx\n" * 60 + "no label here\n")
    source = open_source(tmp_path, "train")
    with pytest.raises(DataError, match="line 61: 'no label here'"):
        source.label(60)


@pytest.mark.parametrize(
    "content, message",
    [
        ("{", "not JSON"),
        ('{"data_list": [{"img_path": "a.jpg"}]}', "entry 1 lacks"),
        ('{"a.jpg": 7}', "must be strings"),
        ('{"data_list": []}', "lists no images"),
    ],
)
def test_json_that_is_not_what_it_should_be_is_one_line(tmp_path, content, message):
    (tmp_path / "labels.json").write_text(content)
    with pytest.raises(DataError, match=message) as caught:
        open_source(tmp_path, "train")
    assert "\n" not in str(caught.value)


def test_unknown_formats_and_splits_are_named(tmp_path):
    with pytest.raises(DataError, match="no format 'lmbd'; there are auto, packed, lmdb"):
        open_source(tmp_path, "train", SourceOptions(format="lmbd"))
    with pytest.raises(DataError, match="no data set of the format tab in it"):
        open_source(make_store(tmp_path / "x"), "train", SourceOptions(format="tab"))


def test_sources_survive_pickling(tmp_path):
    for name, make in MAKERS.items():
        expected = make(tmp_path / name)
        source = open_source(tmp_path / name, "train")
        source.label(0)
        assert texts(pickle.loads(pickle.dumps(source))) == expected


def test_a_part_reads_the_samples_it_names(tmp_path):
    part = Part(open_source(make_store(tmp_path), "train"), np.array([5, 2], np.uint32))
    assert texts(part) == [WORDS[5], WORDS[2]] and "image-000000006" in part.where(0)


@pytest.mark.parametrize("block", [1, 2, 5, 1 << 24])
def test_lines_are_found_across_blocks_and_whatever_ends_them(tmp_path, monkeypatch, block):
    monkeypatch.setattr("models.data.files.BLOCK", block)
    path = tmp_path / "lines"
    for content in (b"", b"\n\n", b"a", b"ab\r\nc d\n\n\n \r\n\re", b"\nx\n"):
        path.write_bytes(content)
        assert list(Lines(path)) == [line for line in content.replace(b"\r", b"\n").split(b"\n") if line.strip()]


def test_noise_in_the_pages_of_an_lmdb_is_named_wherever_it_is_met(tmp_path):
    """Labels in order and the digest of all labels go through the tree; each page of it is overwritten in turn."""
    store = make_store(tmp_path / "whole", [f"label{n}" for n in range(300)])
    whole, page, refused = (store / "data.mdb").read_bytes(), 4096, 0
    for place in range(2 * page, len(whole), page):
        damaged = tmp_path / f"damaged{place}"
        damaged.mkdir()
        noise = np.random.default_rng(place).bytes(page)
        (damaged / "data.mdb").write_bytes(whole[:place] + noise + whole[place + page :])
        for walk in (lambda source: source.texts(0, len(source)), lambda source: source.manifest()):
            try:
                walk(open_source(damaged, "train"))
            except DataError as error:
                refused += "damaged" in str(error)
    assert refused
