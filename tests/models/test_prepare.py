"""From the raw tree to LMDB: nothing lost, everything counted, and a killed run continues."""

import json
import os
import signal
import subprocess
import sys
import time

import lmdb
import pytest
from PIL import Image

from bench.errors import UserError
from models import prepare
from models.data import known
from models.data.charset import Charset
from models.data.writer import LMDBWriter, check_space
from models.dataset import DataError, Shape, open_dataset
from models.scoring.sets import open_sets
from tests.support.data_samples import WORDS, make_store, make_tree
from tests.support.images import encoded, jpeg
from tests.support.preparation import run


def texts(root, split="train"):
    data = open_dataset(root, split, Shape(), Charset())
    return data.__getitems__(list(range(len(data)))).texts


def test_the_tree_becomes_three_lmdbs_with_the_same_bytes(tmp_path):
    folder = make_tree(tmp_path)
    assert run("--source", tmp_path, "--out", tmp_path / "lmdb") is None
    for split in ("train", "val", "test"):
        assert texts(tmp_path / "lmdb", split) == WORDS
    with lmdb.open(str(tmp_path / "lmdb/val"), lock=False) as environment, environment.begin() as reading:
        assert reading.get(b"num-samples") == b"8"
        assert reading.get(b"image-000000003") == (folder / "1/2/val2_LETTER_2.jpg").read_bytes()
        assert reading.get(b"label-000000003") == b"letter"
    data = open_dataset(tmp_path / "lmdb", "train", Shape(), Charset())
    assert (data.name, data.is_sample) == ("Synth90k", False)


def test_what_is_skipped_is_counted_exactly_and_fails_the_run(tmp_path, capsys):
    folder = make_tree(tmp_path)
    (folder / "1/2/train1_BRAVO_1.jpg").write_bytes(b"")
    (folder / "1/2/train5_FOXTROT_5.jpg").unlink()
    said = run("--source", tmp_path, "--out", tmp_path / "lmdb")
    assert "2 of 24 images were unreadable" in said and said.endswith("--tolerate 0.084")
    assert "6 written to" in capsys.readouterr().out
    assert texts(tmp_path / "lmdb") == [w for w in WORDS if w not in ("bravo", "foxtrot")]
    assert json.loads((tmp_path / "lmdb/dataset.json").read_text())["splits"]["train"] == {"samples": 6, "skipped": 2}
    assert (
        run("--source", tmp_path, "--out", tmp_path / "lmdb", "--tolerate", 0.084) is None
    )  # already there; now tolerated


@pytest.mark.parametrize("options", [[], ["--ratio", "[0.5,0.25,0.25]"]])
def test_lmdbs_called_by_split_are_splits_that_no_ratio_cuts(tmp_path, options):
    for number, name in enumerate(("train", "valid", "test")):
        pictures = [jpeg(seed=4 * number + i) for i in range(4)]
        make_store(tmp_path / f"n/MJ/MJ_{name}", [f"{name}{i}" for i in range(4)], pictures)
    assert run("--source", tmp_path / "n", "--out", tmp_path / "lmdb", *options) is None
    for split, name in (("train", "train"), ("val", "valid"), ("test", "test")):
        assert texts(tmp_path / "lmdb", split) == [f"{name}{i}" for i in range(4)]


@pytest.mark.parametrize("source", ["", "nowhere"])
def test_a_wrong_source_is_refused_in_one_line(tmp_path, source):
    refusal = run("--source", source and tmp_path / source, "--out", tmp_path / "lmdb")
    assert "PYTORCH_TRAIN_DATASET" in refusal and "\n" not in refusal


def test_an_lmdb_that_is_something_else_is_not_overwritten(tmp_path):
    make_tree(tmp_path)
    make_store(tmp_path / "lmdb/train", ["keep"])
    assert "another tool wrote" in run("--source", tmp_path, "--out", tmp_path / "lmdb")
    assert texts(tmp_path / "lmdb") == ["keep"]
    LMDBWriter(tmp_path / "begun", "one source").add(1, [(b"x", "x")], [])
    with pytest.raises(DataError, match=r"1 samples of another source, .* --overwrite"):
        LMDBWriter(tmp_path / "begun", "another")


def test_an_unfinished_lmdb_is_refused_and_continued(tmp_path):
    writer = LMDBWriter(tmp_path / "lmdb", "source")
    writer.add(3, [(b"a", "a"), (b"b", "b")], ["c is broken"])
    writer.close()
    with pytest.raises(DataError, match="unfinished"):
        open_dataset(tmp_path / "lmdb", "train", Shape(), Charset())
    again = LMDBWriter(tmp_path / "lmdb", "source")
    assert (again.progress.consumed, again.progress.written, again.progress.skipped) == (3, 2, 1)


def test_the_map_grows_as_needed_and_the_file_is_no_larger_than_its_content(tmp_path, monkeypatch):
    monkeypatch.setattr("models.data.writer.FIRST_MAP", 1 << 16)
    writer = LMDBWriter(tmp_path, "source")
    for _ in range(8):
        writer.add(10, [(bytes(10_000), "label")] * 10, [])
    writer.finish()
    assert writer.environment.info()["map_size"] > 800_000
    assert (tmp_path / "data.mdb").stat().st_size < 1_500_000


def test_free_space_is_checked_first(tmp_path):
    check_space(tmp_path / "not/yet/there", 1)
    with pytest.raises(DataError, match="are needed"):
        check_space(tmp_path, 1 << 60)


def test_a_run_killed_at_any_moment_continues_to_the_same_lmdb(tmp_path):
    make_tree(tmp_path, words=[f"word{i}" for i in range(300)], splits=["train"])
    command = [
        sys.executable,
        "-c",
        "from models import prepare; from models.data import parallel; parallel.CHUNK = 10; prepare.main()",
        "--source",
        tmp_path,
        "--out",
        tmp_path / "lmdb",
        "--splits",
        "[train]",
        "--workers",
        "1",
    ]
    kills = 0
    for _ in range(50):
        process = subprocess.Popen(
            command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True
        )
        if kills < 3 and killed_while_writing(process, tmp_path / "lmdb/train/data.mdb"):
            kills += 1
        elif process.wait(60) == 0:
            break
    assert texts_of_store(tmp_path / "lmdb/train") == [f"word{i}" for i in range(300)]


def killed_while_writing(process, data) -> bool:
    """Kill the process group as soon as the file is there; False when the process was faster."""
    while process.poll() is None and not data.exists():
        time.sleep(0.005)
    time.sleep(0.02)
    if process.poll() is not None:
        return False
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    return True


def texts_of_store(folder):
    with lmdb.open(str(folder), lock=False) as environment, environment.begin() as reading:
        return [reading.get(b"label-%09d" % i).decode() for i in range(1, int(reading.get(b"num-samples")) + 1)]


def list_of(folder, *labels, name="labels.tsv"):
    """Images and a list with these labels, written anew."""
    folder.mkdir(parents=True, exist_ok=True)
    for seed, _ in enumerate(labels):
        (folder / f"{seed}.jpg").write_bytes(jpeg(seed=seed))
    (folder / name).write_text("".join(f"{i}.jpg\t{label}\n" for i, label in enumerate(labels)))
    return folder


def stored(folder):
    source = open_dataset(folder, "train", Shape(), Charset()).source
    return [source.label(i) for i in range(len(source))]


@pytest.mark.parametrize("packed", [[], ["--packed"]])
def test_what_has_changed_since_is_never_taken_for_done(tmp_path, packed):
    """Labels corrected, another set of the same name and size, an image replaced: refused, or written anew."""
    source, out = list_of(tmp_path / "a/set", "one", "tree"), tmp_path / "out"
    assert run("--source", source, "--out", out, *packed) is None
    list_of(source, "one", "three")
    assert "another state of this one" in run("--source", source, "--out", out, *packed)
    assert stored(out) == ["one", "tree"]
    assert run("--source", source, "--out", out, *packed, "--overwrite") is None
    assert stored(out) == ["one", "three"]
    assert "--overwrite writes it anew" in run("--source", list_of(tmp_path / "b/set", "x", "y"), "--out", out, *packed)
    (source / "0.jpg").write_bytes(jpeg(seed=9))
    assert "labels or images have changed" in run("--source", source, "--out", out, *packed)


def test_the_same_data_is_gone_on_with_wherever_it_lies_now(tmp_path, capsys):
    source = list_of(tmp_path / "set", "one", "two")
    assert run("--source", source, "--out", tmp_path / "out") is None
    source.rename(tmp_path / "moved")
    assert run("--source", tmp_path / "moved", "--out", tmp_path / "out") is None
    assert "2 written" in capsys.readouterr().out


@pytest.mark.parametrize("packed", [[], ["--packed"]])
def test_where_nothing_was_written_the_corrected_list_is(tmp_path, packed):
    source = list_of(tmp_path / "set", "one", "two")
    (source / "labels.tsv").write_text("gone0.jpg\tone\ngone1.jpg\ttwo\n")
    assert run("--source", source, "--out", tmp_path / "out", *packed) is not None
    list_of(source, "one", "two")
    assert run("--source", source, "--out", tmp_path / "out", *packed) is None
    assert stored(tmp_path / "out") == ["one", "two"]


def test_a_bad_row_is_skipped_and_counted_as_in_training(tmp_path, capsys):
    source = list_of(tmp_path / "set", *(f"w{i}" for i in range(60)))
    lines = (source / "labels.tsv").read_text().splitlines()
    lines[57] = "no image at all"
    (source / "labels.tsv").write_text("\n".join(lines))
    assert "1 of 60 images were unreadable" in run("--source", source, "--out", tmp_path / "out")
    assert run("--source", source, "--audit") is None
    assert "labels.tsv: line 58: 'no image at all' names no image file" in capsys.readouterr().out
    assert len(stored(tmp_path / "out")) == 59 and "w57" not in stored(tmp_path / "out")


def test_the_splits_that_are_there_are_prepared(tmp_path, capsys):
    for split in ("train", "dev"):
        list_of(tmp_path / "set", "one", "two", name=f"{split}.txt")
    options = ["--source", tmp_path / "set", "--out", tmp_path / "out", "--allow-overlap", "train+val"]
    assert run(*options) is None
    assert "has train and val, no test" in capsys.readouterr().out
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["dataset.json", "train", "val"]
    assert "none of --splits test" in run(*options, "--splits", "test")


def test_an_alphabet_is_built_of_whole_labels_or_refused(tmp_path):
    (list_of(tmp_path / "set", "x") / "labels.tsv").unlink()
    (tmp_path / "set/labels.json").write_text(json.dumps({"0.jpg": "one\ntwo"}))
    refusal = run("--source", tmp_path / "set", "--build", tmp_path / "chars.txt")
    assert "labels.json: 0.jpg: label 'one\\ntwo' has a line break" in refusal
    assert not (tmp_path / "chars.txt").exists()


def test_an_audit_of_what_cannot_be_read_fails(tmp_path):
    source = list_of(tmp_path / "set", "one")
    (source / "0.jpg").write_bytes(b"no image")
    assert "nothing can be read" in run("--source", source, "--audit")


def test_an_audit_names_what_a_person_should_know(tmp_path, capsys):
    turned = Image.Exif()
    turned[0x0112] = 6
    source = list_of(tmp_path / "set", "\u05e9\u05dc\u05d5\u05dd 12", "same", "same", "other", "x")
    (source / "4.jpg").write_bytes(encoded(Image.new("L", (32, 90)), "JPEG", exif=turned))
    for name in ("2.jpg", "3.jpg"):
        (source / name).write_bytes(jpeg(seed=1))
    assert run("--source", source, "--audit") is None
    said = capsys.readouterr().out
    assert "1 images that EXIF turns: they are read upright" in said
    assert "1 labels with letters that run from right to left" in said and "1 of these with words or numbers" in said
    assert "1 images are there several times, with different labels" in said


def test_a_share_of_nothing_is_no_split(tmp_path):
    source = list_of(tmp_path / "set", "one", "two")
    assert run("--source", source, "--out", tmp_path / "out", "--ratio", "0,0,1") is None
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["dataset.json", "test"]


def test_a_packed_set_of_nothing_says_so(tmp_path):
    source = list_of(tmp_path / "set", "one")
    (source / "0.jpg").write_bytes(b"no image")
    assert "1 of 1 images were unreadable" in run("--source", source, "--out", tmp_path / "out", "--packed")
    with pytest.raises(DataError, match="train: no samples in it"):
        open_dataset(tmp_path / "out", "train", Shape(), Charset())


def test_what_prepare_made_of_one_list_is_a_set_to_test(tmp_path):
    assert run("--source", list_of(tmp_path / "set", "one", "two"), "--out", tmp_path / "out") is None
    assert len(open_sets([f"mine={tmp_path / 'out'}"], "test", Shape(), Charset())) == 2


def test_a_public_data_set_that_is_not_whole_is_found_by_its_counts(tmp_path, monkeypatch, capsys):
    """The folder has three samples to test; a benchmark is known in two versions, of three and of two."""
    make_store(tmp_path / "set" / "test", ["one", "two", "three"])
    monkeypatch.setitem(known.KNOWN, "svt", {"test": {3: "all words", 2: "no short ones"}})
    source = ["--source", str(tmp_path / "set"), "--audit", "--workers", "1"]
    prepare.main([*source, "--expect", "svt"])
    assert "3 samples, as svt test has (all words)" in capsys.readouterr().out
    with pytest.raises(UserError, match="not iiit5k as it is published, in test"):
        prepare.main([*source, "--expect", "iiit5k"])
    assert "3 samples, and iiit5k has test 3,000" in capsys.readouterr().out
    assert known.compare_count("iiit5k", "", 3_000) == (True, "3,000 samples, as iiit5k test has")
    assert known.compare_count("cute80", "train", 9) == (False, "9 samples of train, a split that cute80 does not have")
    with pytest.raises(UserError, match="pass both"):
        prepare.main(["--source", str(tmp_path / "set"), "--out", str(tmp_path / "out"), "--expect", "svt"])
