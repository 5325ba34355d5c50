"""Several sets in one test, through the program: rows, their mean, decoders, the page of mistakes, refusals."""

from __future__ import annotations

import json
import re
from base64 import b64decode
from html.parser import HTMLParser

import pytest
from PIL import Image

from bench.errors import UserError
from bench.records.checks import validation_errors
from bench.records.record import Record
from models import test, train
from models.data.charset import Charset
from models.data.opening import open_source
from models.dataset import Shape, WordDataset
from models.run.options import Infer, parse
from models.scoring import mistakes
from models.scoring.evaluate import Prediction
from models.scoring.protocol import accuracy_section
from models.scoring.sets import parse_set

SMALL = ["--device", "CPU", "--model.hidden", "8", "--batch-size", "16", "--min-steps", "1", "--min-seconds", "0"]


@pytest.fixture(scope="module")
def trained(sample, tmp_path_factory):
    """A checkpoint that has seen one step: it reads badly, which is what a page of mistakes needs."""
    folder = tmp_path_factory.mktemp("trained")
    places = ["--dataset", str(sample), "--checkpoints", str(folder / "ck"), "--results", str(folder / "runs")]
    train.main([*places, *SMALL, "--steps", "1", "--warmup-steps", "0"])
    return folder / "ck" / "CRNN_FP32_1S_1CPU_Train" / "last.pt"


@pytest.fixture
def sets(tmp_path):
    """Two lists of pictures in folders: three words and two, one of which is nobody's charset and one no picture."""
    for name, labels in {"first": ["alpha", "beta", "<b>gamma</b>"], "second": ["delta", "EPSILON"]}.items():
        (tmp_path / name).mkdir()
        for i in range(len(labels)):
            Image.linear_gradient("L").resize((90 + i, 30)).save(tmp_path / name / f"{i}.png")
        lines = "".join(f"{i}.png\t{label}\n" for i, label in enumerate(labels))
        (tmp_path / name / "labels.txt").write_text(lines)
    return tmp_path


def run_test(tmp_path, trained, *options):
    arguments = ["--checkpoint", str(trained), "--results", str(tmp_path / "runs"), "--latency-runs", "0"]
    arguments += ["--min-seconds", "0", "--min-steps", "1"]
    test.main([*SMALL, *arguments, *map(str, options)])
    [path] = (tmp_path / "runs").glob("*.json")
    return Record.load(path)


def test_each_set_has_a_row_and_the_whole_is_their_weighted_mean(sets, tmp_path, trained, capsys):
    record = run_test(tmp_path, trained, "--sets", f"one={sets / 'first'}", sets / "second")
    rows = record.accuracy["sets"]
    assert [(row["name"], row["n"]) for row in rows] == [("one", 3), ("second", 2)]
    for field in ("word_accuracy", "one_minus_ned", "character_precision", "sequence_distance"):
        assert record.accuracy[field] == pytest.approx(sum(row[field] * row["n"] for row in rows) / 5)
    assert list(validation_errors(record)) == []
    assert (record.dataset["name"], record.dataset["n"]) == ("one+second", 5)
    assert [(row["length"], row["n"]) for row in record.accuracy["by_length"]] == [(4, 1), (5, 2), (7, 2)]
    assert record.accuracy["confusions"]
    said = capsys.readouterr().out
    assert record.dataset["is_whole"] and "split of its own" not in said  # sets are asked for by name
    assert re.search(r"^set +n +words read %.*\n-.*\none +3 .*\nsecond +2 .*\nweighted mean +5 ", said, re.MULTILINE)


def test_a_data_set_without_splits_is_tested_whole_and_says_so(sets, tmp_path, trained, capsys):
    record = run_test(tmp_path, trained, "--dataset", sets / "first")
    assert record.dataset["is_whole"] and record.accuracy["n"] == 3
    assert capsys.readouterr().out.count(f"warning: {sets / 'first'} has no test split of its own") == 1


def test_readings_are_told_apart_by_the_set_they_are_of(sets):
    source = open_source(f"{sets / 'first'}:1,{sets / 'second'}:1", "test")
    reads = [Prediction(i, source.label(i), "beta" if i < 3 else source.label(i), 0.5) for i in range(5)]
    rows = accuracy_section(reads, source, "test", "greedy", "exact")["sets"]
    assert [row["correct"] for row in rows] == [1, 2]


def test_a_set_without_one_readable_picture_is_null_and_not_nan(sets):
    source = open_source(f"{sets / 'first'}:1,{sets / 'second'}:1", "test")
    section = accuracy_section([Prediction(0, "a", "a", 1.0)], source, "test", "greedy", "exact")
    assert (section["sets"][1]["n"], section["sets"][1]["word_accuracy"]) == (0, None)
    assert "NaN" not in json.dumps(section)


def test_a_set_is_called_as_it_is_asked_to_be_or_as_its_folder(tmp_path):
    assert parse_set("iiit=data/5k") == ("iiit", "data/5k")
    assert parse_set("data/svt/") == ("svt", "data/svt/")
    (tmp_path / "a=b").mkdir()
    assert parse_set(str(tmp_path / "a=b")) == ("a=b", str(tmp_path / "a=b"))


def test_two_sets_of_one_name_and_a_missing_one_are_refused(sets, tmp_path, trained):
    with pytest.raises(UserError, match="several sets are called 'first'"):
        run_test(tmp_path, trained, "--sets", sets / "first", sets / "first")
    with pytest.raises(UserError, match="nowhere: no such folder"):
        run_test(tmp_path, trained, "--sets", sets / "first", sets / "nowhere")


@pytest.mark.parametrize(
    "options, method", [([], "greedy"), (["--beam", "3"], "beam"), (["--decode", "beam"], "beam"), (["--lexicon"], "")]
)
def test_texts_are_found_as_asked(sets, tmp_path, trained, options, method):
    if options == ["--lexicon"]:
        (tmp_path / "words.txt").write_text("alpha beta\ndelta\n")
        options, method = ["--lexicon", tmp_path / "words.txt", "--mistakes", tmp_path / "m.html"], "lexicon"
    record = run_test(tmp_path, trained, "--sets", sets / "first", *options)
    assert record.accuracy["method"] == method
    if method == "lexicon":
        read = re.findall(r'class="text">(.*?)</dd>', (tmp_path / "m.html").read_text())
        assert read and {re.sub("<.*?>", "", text) for text in read} <= {"alpha", "beta", "delta"}


@pytest.mark.parametrize(
    "options, reason",
    [
        (["--decode", "lexicon"], "--lexicon FILE"),
        (["--decode", "greedy", "--beam", "5"], "--beam is for --decode beam"),
        (["--beam", "0"], "--beam is 1 to 1000, not 0"),
        (["--lexicon", "none.txt"], "none.txt: No such file"),
        (["--model.head", "attention", "--beam", "5"], "trained with --model.head ctc, not attention"),
        (["--lexicon", "x", "--beam", "5"], "--beam is for --decode beam, not lexicon"),
    ],
)
def test_ways_to_read_that_make_no_sense_are_refused(sets, tmp_path, trained, options, reason):
    with pytest.raises(UserError, match=reason):
        run_test(tmp_path, trained, "--sets", sets / "first", *options)


def test_a_list_takes_all_words_up_to_the_next_option():
    options = parse(Infer, ["--sets", "a b", "c=d", "--seed", "3"], "models.test")
    assert (options.sets, options.seed) == (["a b", "c=d"], 3)


class Page(HTMLParser):
    """What a browser would make of it: every tag, every address, all text."""

    def __init__(self, text: str):
        super().__init__()
        self.tags, self.addresses, self.said = [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.addresses += [value for name, value in attributes if name in ("src", "href")]

    def handle_data(self, text):
        self.said += text


def test_the_page_of_mistakes_is_self_contained_and_escaped(sets, tmp_path, trained):
    path = tmp_path / "deep" / "page.html"
    run_test(tmp_path, trained, "--sets", sets / "first", sets / "second", "--mistakes", path)
    page = Page(path.read_text(encoding="utf8"))
    assert page.tags.count("img") == page.tags.count("li") == 5
    assert all(address.startswith("data:image/png;base64,") for address in page.addresses)
    assert b64decode(page.addresses[0].partition(",")[2]).startswith(b"\x89PNG")
    assert "<b>gamma</b>" in page.said and "b" not in page.tags and "script" not in page.tags
    assert "5 of 5 texts misread" in page.said and "weighted mean" in page.said


def test_the_worst_come_first_and_differences_are_marked(sets):
    data = WordDataset(open_source(sets / "first", "test"), Shape(), Charset())
    read = [(0, "alpha", "alpha", 1.0), (1, "beta", "bet", 0.9), (2, "gamma", "gxmmyy", 0.8)]
    predictions = [Prediction(*one) for one in read]
    section = accuracy_section(predictions, data.source, "test", "greedy", "exact")
    text = mistakes.mistakes_page("RUN", section, predictions, data)
    assert re.findall(r'class="truth">(.*?)</dd>', text) == [
        "g<mark>a</mark>mm<mark>a</mark>",
        "bet<mark>a</mark>",
    ]
    assert text.count("<li>") == 2
    assert mistakes.mistakes_page("RUN", section, predictions, data, shown=1).count("<li>") == 1


def test_case_is_a_mistake_only_where_it_counts():
    assert mistakes.align_pieces("Ab", "ab", "exact")[0] == [("A", True), ("b", False)]
    assert mistakes.align_pieces("Ab", "ab", "alphanumeric") == ([("Ab", False)], [("ab", False)])


def test_a_picture_is_shown_as_the_network_sees_it_without_padding(sets, tmp_path):
    data = WordDataset(open_source(sets / "first", "test"), Shape(32, 200, 3, keep_ratio=True), Charset())
    (tmp_path / "x.png").write_bytes(b64decode(mistakes.encode_image(data, 1)))
    assert (Image.open(tmp_path / "x.png").size, Image.open(tmp_path / "x.png").mode) == ((97, 32), "RGB")
