import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from bench.errors import UserError
from bench.records.record import SCHEMA_VERSION, Record
from tests.support.records import make_record


def test_what_is_saved_is_loaded(tmp_path):
    record = make_record()
    path = record.save(tmp_path)
    assert Record.load(path) == record
    assert path.name.startswith("CRNN_FP32_30E_1CPU_Train.")


def test_a_hundred_writers_leave_a_hundred_valid_records(tmp_path):
    with ThreadPoolExecutor(16) as pool:
        paths = set(pool.map(lambda _: make_record().save(tmp_path), range(100)))
    assert len(paths) == len(list(tmp_path.iterdir())) == 100
    assert all(Record.load(path) for path in paths)


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda c: c | {"schema_version": SCHEMA_VERSION + 1}, "newer checkout"),
        (lambda c: c | {"schema_version": 1}, "schema 1, this program reads 3, 4, 5: .*run it again"),
        (lambda c: c | {"images_per_s": 1}, "unknown or missing fields: images_per_s"),
        (lambda c: {k: v for k, v in c.items() if k != "series"}, "unknown or missing fields: series"),
        (lambda c: [c], "not a record"),
    ],
)
def test_what_is_no_record_of_this_schema_is_refused(spoil, said, tmp_path):
    path = make_record().save(tmp_path)
    path.write_text(json.dumps(spoil(json.loads(path.read_text()))))
    with pytest.raises(UserError, match=said):
        Record.load(path)


@pytest.mark.parametrize("text", ["", "{", '{"a": 1}', "\x00\x01"])
def test_rubbish_is_one_line_that_names_the_file(text, tmp_path):
    path = tmp_path / "bad.json"
    path.write_text(text)
    with pytest.raises(UserError, match=r"bad\.json: not a record"):
        Record.load(path)


def test_a_seal_names_what_was_changed_added_and_taken_away(tmp_path):
    path = make_record().save(tmp_path)
    content = json.loads(path.read_text())
    assert Record.load(path).altered == []
    content["cell"]["card"] = "faster"
    content["dataset"].pop("n")
    content["seeds"]["extra"] = 1
    path.write_text(json.dumps(content))
    assert Record.load(path).altered == ["cell.card", "dataset.n", "seeds", "seeds.extra"]
    del content["seal"]
    path.write_text(json.dumps(content))
    assert Record.load(path).altered == ["seal"]


def test_a_long_series_is_small_and_comes_back_to_the_bit(tmp_path):
    record = make_record(steps=20_000)
    path = record.save(tmp_path)
    assert path.stat().st_size < 20_000
    assert Record.load(path) == record


def test_a_damaged_series_is_one_line(tmp_path):
    path = make_record(steps=200).save(tmp_path)
    content = json.loads(path.read_text())
    content["series"][0]["step_s"]["packed"] = "AAAA"
    path.write_text(json.dumps(content))
    with pytest.raises(UserError, match="damaged series"):
        Record.load(path)


def test_what_json_cannot_say_is_null(tmp_path):
    path = make_record(training={"loss": [1.0, float("nan"), float("inf")]}).save(tmp_path)
    assert Record.load(path).training == {"loss": [1.0, None, None]}
