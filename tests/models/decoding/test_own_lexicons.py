"""Each image's own lexicon, as their owners store it.

`lexicon-%09d`, words between blanks: github.com/bgshih/crnn, tool/create_dataset.py, whose `lexiconList` holds IIIT5K's
and SVT's 50 words an image. The table's column is ours; SVT separates the words of its `lex` element by commas.
"""

from pathlib import Path

import lmdb
import pytest

from bench.errors import UserError
from bench.records.record import Record
from models import test
from models.data.files import DataError
from models.data.formats import SourceOptions
from models.data.opening import open_source
from tests.support.data_samples import WORDS, make_store
from tests.support.images import jpeg


def own_words(i: int) -> list[str]:
    """Two words, one of them the truth, which is never first in order of the alphabet."""
    return ["aaaa" if i % 2 else "zzzz", WORDS[i]]


def make_lmdb(folder: Path) -> Path:
    make_store(folder)
    with lmdb.open(str(folder), map_size=1 << 26) as environment, environment.begin(write=True) as writing:
        for i in range(len(WORDS)):
            writing.put(b"lexicon-%09d" % (i + 1), " ".join(own_words(i)).encode())
    return folder


def make_table(folder: Path) -> Path:
    folder.mkdir()
    lines = ["filename,words,lex"]
    for i, word in enumerate(WORDS):
        (folder / f"{i}.jpg").write_bytes(jpeg(seed=i))
        lines.append(f'{i}.jpg,{word},"{",".join(own_words(i))}"')
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    return folder / "labels.csv"


@pytest.mark.parametrize(("make", "column"), [(make_lmdb, "lexicon"), (make_table, "lex")], ids=["lmdb", "table"])
def test_each_image_is_read_as_one_of_its_own_words(tmp_path, make, column):
    """A network of random weights reads grey noise: every text must be of its own image's two words."""
    data = ["--sets", f"own={make(tmp_path / 'data')}"]
    results = tmp_path / "results"
    options = [
        "--lexicon-column",
        column,
        "--batch-size",
        "3",
        "--latency-runs",
        "0",
        "--recipe",
        "crnn_small",
        "--min-steps",
        "1",
        "--min-seconds",
        "0",
    ]
    test.main([*data, *options, "--results", str(results), "--device", "CPU"])
    [record] = map(Record.load, results.glob("*.json"))
    assert record.accuracy["method"] == "lexicon" and record.accuracy["n"] == len(WORDS)
    assert 0 < record.accuracy["word_accuracy"] <= 1  # by chance a half; without a lexicon none


def test_an_image_without_its_words_is_named_before_anything_is_read(tmp_path):
    make_store(tmp_path / "plain")
    with pytest.raises(UserError, match="lexicon-000000001 is missing"):
        test.main(["--sets", str(tmp_path / "plain"), "--lexicon-column", "lexicon", "--device", "CPU"])
    table = make_table(tmp_path / "table")
    with pytest.raises(UserError, match="no column lexicon; there are filename, words, lex"):
        test.main(["--sets", str(table), "--lexicon-column", "lexicon", "--device", "CPU"])
    source = open_source(tmp_path / "table", "test", SourceOptions())
    assert source.lexicon(2, "LEX") == own_words(2)
    with pytest.raises(DataError, match="no column"):
        source.lexicon(2, "nothing")


def test_one_lexicon_for_all_and_one_for_each_contradict(tmp_path):
    make_lmdb(tmp_path / "data")
    (tmp_path / "words.txt").write_text("alpha\n")
    options = ["--lexicon", str(tmp_path / "words.txt"), "--lexicon-column", "lexicon", "--device", "CPU"]
    with pytest.raises(UserError, match="give one of them"):
        test.main(["--sets", str(tmp_path / "data"), *options])
