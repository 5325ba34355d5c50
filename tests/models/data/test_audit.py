"""What an audit finds in sets made to hold one of everything."""

import numpy as np
import pytest

from models.data.audit import Terms, audit, audit_report, overlaps
from models.data.charset import Charset
from models.data.image import Shape
from models.data.opening import open_source
from tests.support.data_samples import make_store
from tests.support.images import jpeg
from tests.support.preparation import run

WORDS = ["fine", "", "a-b", "committeeee", "wide", "rubbish", "fine"]


def everything(folder):
    pictures = [jpeg(seed=i) for i in range(7)]
    pictures[4], pictures[5], pictures[6] = jpeg(width=400, seed=4), b"not a picture", pictures[0]
    return open_source(make_store(folder, WORDS, pictures), "train")


def test_an_audit_counts_everything(tmp_path):
    terms = Terms(Shape(width=48), Charset())  # T = 13
    found = audit(everything(tmp_path), terms, workers=1)
    assert (found.samples, found.unreadable) == (7, 1)
    assert found.lengths == {4: 3, 0: 1, 3: 1, 11: 1}
    assert found.out_of_charset == {"-": 1}
    assert found.label_issues == {"empty": 1, "out_of_charset": 1, "long": 1}
    assert found.squeezed == {1.5: 5, 3: 1}  # 90x31 to 48x32 is 1.9 times narrower, 400x31 8.6 times
    text = "\n".join(audit_report("train", found, terms))
    assert "7 samples, 1 unreadable, 1 repeated within it" in text
    assert "characters outside the charset of 36: '-' 1" in text and "squeezed to 48 px" in text
    assert "name the one that is meant" not in text  # one label of seven
    assert "long: " in text and "'committeeee'" in text and "0 to 11, median 4" in text


def test_most_labels_outside_the_charset_mean_another_one(tmp_path):
    terms = Terms(Shape(), Charset())
    found = audit(
        open_source(make_store(tmp_path, ["\u505c\u4e0b\u6765", "one"], [jpeg(), jpeg(seed=1)]), "train"), terms, 1
    )
    assert "name the one that is meant, --charset 94, chinese or a file" in "\n".join(
        audit_report("train", found, terms)
    )


def test_integer_labels_are_audited_against_what_they_index(tmp_path, capsys):
    (tmp_path / "a.jpg").write_bytes(jpeg())
    (tmp_path / "train.txt").write_text("a.jpg 2 1 2\n")
    (tmp_path / "alphabet_decode_5990.txt").write_text("blank\n\u505c\n\u4e0b\n", encoding="utf8")
    run("--source", tmp_path, "--audit=true")
    said = capsys.readouterr().out
    assert "\u4e0b\u505c\u4e0b" in said and "outside the charset" not in said


def test_with_kept_ratio_the_time_steps_follow_each_picture(tmp_path):
    terms = Terms(Shape(width=400, keep_ratio=True), Charset())
    store = make_store(tmp_path, ["a" * 8] * 2, [jpeg(width=30), jpeg(width=90)])  # 15 steps needed; 8 and 24 there
    found = audit(open_source(store, "train"), terms, workers=1)
    assert found.label_issues == {"long": 1} and not found.squeezed


def test_overlaps_count_pictures_not_samples():
    hashes = {"train": np.array([1, 1, 2, 3]), "val": np.array([9]), "test": np.array([1, 3, 3])}
    assert overlaps(hashes) == {("train", "test"): 2}


def test_pictures_that_cannot_be_read_are_repeats_of_none(tmp_path, capsys):
    for i, split in enumerate(("train", "test")):
        make_store(tmp_path / split, ["a", "b", "c"], [jpeg(seed=i), b"no picture", b"no picture"])
    assert run("--source", tmp_path, "--audit=true", "--splits", "[train,test]") is None
    assert capsys.readouterr().out.count("3 samples, 2 unreadable, 0 repeated within it") == 2


def write_splits(root, shared):
    for i, split in enumerate(("train", "val", "test")):
        make_store(root / split, ["a", "b"], [jpeg(seed=10 * i), jpeg(seed=5 if shared else 10 * i + 1)])


@pytest.mark.parametrize("options", [["--audit=true"], ["--out", "OUT"]])
def test_overlap_of_train_and_test_is_an_error_unless_allowed_by_name(tmp_path, options):
    write_splits(tmp_path / "in", shared=True)
    options = [tmp_path / "out" if o == "OUT" else o for o in options]
    assert "1 images are in train and in val" in run("--source", tmp_path / "in", *options)
    refusal = run("--source", tmp_path / "in", *options, "--allow-overlap", "train+val")
    assert "allow it by name: --allow-overlap train+test" in refusal
    assert run("--source", tmp_path / "in", *options, "--allow-overlap", "train+val,train+test") is None
    write_splits(tmp_path / "apart", shared=False)
    assert (
        run("--source", tmp_path / "apart", *[o if o != tmp_path / "out" else tmp_path / "out2" for o in options])
        is None
    )


def test_the_program_prints_three_decoded_samples_and_the_findings(tmp_path, capsys):
    everything(tmp_path / "in")
    assert run("--source", tmp_path / "in", "--audit=true") is None
    out = capsys.readouterr().out
    assert "all of it is train" in out and "format lmdb" in out
    assert out.count("90x31  ") == 3 and "image-000000001  90x31  'fine'" in out
    assert "unreadable: " in out and "image-000000006" in out


def test_an_alphabet_is_built_from_all_labels(tmp_path, capsys):
    make_store(tmp_path / "in", ["b a", "Z#", "aé"])
    assert run("--source", tmp_path / "in", "--build", tmp_path / "chars.txt") is None
    assert Charset.named(str(tmp_path / "chars.txt")).characters == " #Zabé"
