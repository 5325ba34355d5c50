"""Records of strangers: sealed again after each lie, through the report, the gate and the rest. One line, or a row."""

from __future__ import annotations

import copy
import json
import zlib
from base64 import b64encode

import pytest

from bench import gate, history, report, verify
from bench.errors import UserError
from bench.records.packing import LONGEST, unpack
from bench.records.record import Record
from bench.records.seal import sealed
from tests.support.records import make_record, make_samples

FORGED = "\x1b[31m<img src=x onerror=alert(1)>\n::error::forged|=1+1"
LIES = [FORGED, "../../../../ESCAPED/x", None, [], {}, [None], {"a": 1}, -1, 0, 10**400, float("nan"), True,
        {"packed": "AAAA", "as": "int64", "n": 1, "scale": 1}, {"packed": "x"}]  # fmt: skip


@pytest.fixture
def body():
    return make_record(samples=[make_samples(0, 60.0)]).body()


def places(value, way=()):
    """Ways to everything in a JSON value, two items of each list."""
    inside = value.items() if isinstance(value, dict) else enumerate(value[:2]) if isinstance(value, list) else ()
    for name, inner in inside:
        yield (*way, name)
        yield from places(inner, (*way, name))


def told(body: dict, way: tuple, lie) -> str:
    """The file of a record with one thing changed, and sealed again where that can be."""
    changed = inner = copy.deepcopy(body)
    for name in way[:-1]:
        inner = inner[name]
    inner[way[-1]] = lie
    try:
        return json.dumps(sealed(changed))
    except ValueError:  # NaN cannot be sealed
        return json.dumps(changed)


@pytest.fixture
def programs(tmp_path):
    """What reads records, as functions of a folder."""
    base = ["--baselines", str(tmp_path / "baselines")]
    files = [word for kind in ("html", "csv", "markdown", "json") for word in (f"--{kind}", str(tmp_path / kind))]
    return {
        "report": lambda folder: report.main([str(folder), *files, *base]),
        "verify": lambda folder: verify.main([str(folder / "a.json")]),
        "gate": lambda folder: gate.main([str(folder), *base]),
        "promote": lambda folder: gate.main([str(folder), *base, "--promote"]),
        "history": lambda folder: history.main([str(folder)]),
    }


@pytest.mark.parametrize("program", ["report", "verify", "gate", "promote", "history"])
def test_a_lie_anywhere_is_a_line_or_a_row(program, programs, body, tmp_path, capsys):
    folder = tmp_path / "a" / "b" / "c" / "runs"
    folder.mkdir(parents=True)
    ways = list(places(body))
    for number, way in enumerate(ways):
        for lie in LIES[number % 7 :: 7]:
            (folder / "a.json").write_text(told(body, way, lie))
            try:
                programs[program](folder)
            except (UserError, SystemExit):
                pass
            except Exception as error:
                raise AssertionError(f"{program}: {way} = {lie!r:.60}") from error
            said = capsys.readouterr()
            assert "\x1b" not in said.out + said.err, (way, lie)
            assert "\n::error" not in said.out + said.err, (way, lie)
    assert len(ways) > 80
    assert list(tmp_path.rglob("*ESCAPED*")) == []


@pytest.mark.parametrize("name", ["../../ESCAPED", "/tmp/ESCAPED", "CRNN_FP32_1CPU_Infer/../../x", FORGED, "", 3])
def test_a_run_name_becomes_no_path(name, body, tmp_path):
    (tmp_path / "a.json").write_text(told(body, ("run",), name))
    with pytest.raises(UserError, match=r"not a r(un name|ecord)"):
        Record.load(tmp_path / "a.json")


def bomb(numbers: int) -> dict:
    return {"packed": b64encode(zlib.compress(bytes(100_000_000), 9)).decode(), "as": "int64", "scale": 1, "n": numbers}


def test_a_packed_series_is_no_bomb(body, tmp_path):
    for numbers in (10, 10**12, -1, "x", 1e9):
        with pytest.raises((ValueError, TypeError)):
            unpack(bomb(numbers))
    body["samples"] = [bomb(LONGEST) for _ in range(5)]
    (tmp_path / "a.json").write_text(json.dumps(sealed(body)))
    with pytest.raises(UserError, match="numbers"):
        Record.load(tmp_path / "a.json")


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"schema_version": 2, "run": ' + "[" * 900 + "]" * 900 + "}", "3", "é"]
)
def test_json_that_is_no_record_is_one_line(text, tmp_path):
    (tmp_path / "a.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(UserError) as refused:
        Record.load(tmp_path / "a.json")
    assert "\n" not in str(refused.value)


def test_a_file_too_large_is_not_read(tmp_path):
    with (tmp_path / "a.json").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(UserError, match="more than"):
        Record.load(tmp_path / "a.json")


@pytest.mark.parametrize("note", [{"run": [FORGED], "status": {}, "reason": [1], "started_utc": None}, [], {"x": 1}])
def test_the_note_of_a_failed_run_is_text(note, tmp_path, capsys):
    (tmp_path / "a.failure").write_text(json.dumps(note))
    try:
        report.main([str(tmp_path), "--html", str(tmp_path / "page.html")])
    except UserError:
        return
    assert "\x1b" not in capsys.readouterr().out
    assert "<img" not in (tmp_path / "page.html").read_text()
