import json

import pandas as pd
import pytest

from bench import report
from bench.errors import UserError
from bench.records.cells import group_repeats, key
from bench.reporting import tables
from bench.reporting.comparisons import compare_rows
from bench.reporting.rows import make_rows
from tests.support.records import make_record
from tests.support.varied_records import NASTY, varied, write


def table(records):
    rows = make_rows(records)
    compare_rows(rows)
    return tables.rows_table(rows)


def test_the_table_says_what_was_measured_and_leaves_the_rest_empty():
    row = table([make_record(accuracy=None, latency=[])]).iloc[0]
    assert row["run"] == "CRNN_FP32_30E_1CPU_Train"
    assert row["images/s"] == "320.0"
    assert row["step p50 ms"] == "100.00"
    assert row["data wait %"] == "1.00"
    assert row["words read %"] == row["n"] == row["power W"] == row["batch-1 p50 ms"] == ""
    assert row["95 % interval"] == row["detects %"] == ""  # one run has neither
    assert row["commit"] == "ccccccccc"


def test_the_sample_and_a_dirty_tree_are_said():
    record = make_record(provenance={"commit": "abc", "dirty": True})
    record.dataset["is_sample"] = True
    row = table([record]).iloc[0]
    assert row["dataset"] == "Synth90k (sample)"
    assert row["commit"] == "abc+"


def test_operators_that_ran_on_the_host_are_a_footnote():
    frame = table([make_record(fallbacks=["aten::nanmedian"])])
    assert frame.iloc[0]["notes"] == "1"
    rows = make_rows([make_record(fallbacks=["aten::nanmedian"]), make_record(fallbacks=["aten::b"])])
    assert tables.footnotes(rows) == ["in part the host's speed: the card has no kernel for aten::b, aten::nanmedian"]


def test_repeats_become_one_row_with_median_interval_and_n():
    frame = table([make_record(step_s=s) for s in (0.100, 0.101, 0.102, 0.099, 0.110)])
    [row] = frame.to_dict("records")
    assert row["runs"] == "5"
    assert row["images/s"] == f"{32 / 0.101:.1f}"
    low, high = map(float, row["95 % interval"].split(" to "))
    assert low < 32 / 0.101 < high
    assert 5 < float(row["detects %"]) < 15  # runs spread by 4 %


@pytest.mark.parametrize(
    "change",
    [
        {"provenance": {"commit": "d" * 40, "dirty": False}},
        {"options": {"amp_level": 2}},
        {"recipe": {"name": "crnn", "sha256": "1" * 64}},
        {"dataset": {"name": "Other", "split": "test", "is_sample": False, "n": 100, "skipped": 2}},
    ],
)
def test_what_is_not_a_repeat_gets_a_row_of_its_own(change):
    assert len(group_repeats([make_record(), make_record(**change)])) == 2


def test_half_a_step_is_told_from_a_whole_one():
    record = make_record()
    record.cell["without"] = "compute"
    assert set(table([make_record(), record])["input"]) == {"real", "real without compute"}


def test_options_that_only_name_places_do_not_part_repeats():
    one, other = (make_record(options={"results": place, "seed": place}) for place in "ab")
    assert key(one) == key(other)


def test_a_record_that_does_not_close_leaves_no_row(tmp_path, capsys):
    make_record().save(tmp_path)
    edited = make_record(step_s=0.2)
    edited.throughput["images_per_s"] = 900.0
    path = edited.save(tmp_path)
    (tmp_path / "torn.json").write_text('{"run":')
    report.main([str(tmp_path)])
    said = capsys.readouterr()
    assert "320.0" in said.out
    assert "900" not in said.out
    assert f"refused {path.name}: throughput.images_per_s is 900.0" in said.err
    assert "refused torn.json" in said.err


def test_a_simulated_card_is_refused(tmp_path, capsys):
    fake = make_record(provenance={"commit": "c" * 40, "dirty": False, "device_versions": {"torch_mlu": "1.2+fake"}})
    fake.save(tmp_path)
    with pytest.raises(UserError, match="no record is left"):
        report.main([str(tmp_path)])
    assert "a simulated card measured nothing" in capsys.readouterr().err
    report.main([str(tmp_path), "--simulated"])
    assert "320.0" in capsys.readouterr().out


def test_two_files_of_one_record_count_once(tmp_path, capsys):
    path = make_record().save(tmp_path)
    (tmp_path / "copy.json").write_text(path.read_text())
    report.main([str(tmp_path), "--json", str(tmp_path / "rows.out")])
    assert "two files hold one run" in capsys.readouterr().err
    assert json.loads((tmp_path / "rows.out").read_text())["rows"][0]["runs"] == 1


def test_scaling_is_against_the_one_card_row_that_agrees():
    frame = table([varied("GPU", cards, "FP32", "Train", 7, 20) for cards in (1, 4)])
    one, four = frame.to_dict("records")
    assert one["scaling %"] == ""
    assert 85 < float(four["scaling %"]) < 95  # 4 ** -0.05 = 93 %, and the slowest rank is 3 % slower


def test_rows_that_do_not_agree_are_not_compared_and_a_footnote_says_why():
    other = varied("GPU", 4, "FP32", "Train", 7, 20, options={"decode": "beam"})
    amp = varied("GPU", 1, "AMP", "Train", 8, 21)
    rows = make_rows([varied("GPU", 1, "FP32", "Train", 7, 20), other, amp])
    compare_rows(rows)
    frame = tables.rows_table(rows)
    assert (frame["scaling %"] == "").all()
    assert (frame["x FP32"] == "").all()
    notes = tables.footnotes(rows)
    assert "scaling empty: the nearest 1-card row differs in decode" in notes
    assert "x FP32 empty: the nearest FP32 row differs in commit" in notes


def test_amp_against_fp32():
    frame = table([varied("GPU", 1, precision, "Train", 7, 20) for precision in ("FP32", "AMP")])
    ratios = dict(zip(frame["precision"], frame["x FP32"], strict=True))
    assert ratios == {"FP32": "", "AMP": "1.60"}


def test_devices_are_compared_where_they_agree_only():
    gpu, mlu = (varied(device, 1, "FP32", "Train", 7, 20) for device in ("GPU", "MLU"))
    [pair] = compare_rows(make_rows([gpu, mlu]))
    assert pair.one.first.cell["device"] == "GPU"  # the faster one first
    assert pair.ratio == pytest.approx(14000 / 9000, rel=1e-3)
    mlu.cell["batch_per_card"] = 16
    [pair] = compare_rows(make_rows([gpu, mlu]))
    assert pair.ratio is None
    assert pair.note == "not compared: batch per card differ"


def test_a_cell_shows_its_newest_commit_unless_all_are_asked_for(tmp_path, capsys):
    for day in (1, 2, 3):
        varied("CPU", 1, "FP32", "Train", day, day).save(tmp_path)
    report.main([str(tmp_path)])
    said = capsys.readouterr().out
    assert "030303030" in said
    assert "020202020" not in said
    report.main([str(tmp_path), "--all-commits"])
    assert "020202020" in capsys.readouterr().out


def test_a_failed_run_is_a_row_with_its_reason(tmp_path, capsys):
    lost = {"run": "CRNN_FP32_1GPU_Infer", "status": "oom", "reason": "no memory\x1b[31m", "started_utc": "2026-01-01"}
    (tmp_path / "a.failure").write_text(json.dumps(lost))
    report.main([str(tmp_path)])
    said = capsys.readouterr().out
    assert "oom" in said
    assert "1. no memory\n" in said


def test_markdown_csv_and_json_hold_the_same_cells(tmp_path):
    write(tmp_path / "runs")
    places = {name: tmp_path / f"t.{name}" for name in ("markdown", "csv", "json")}
    report.main([str(tmp_path / "runs"), *(word for name, path in places.items() for word in (f"--{name}", str(path)))])
    frame = pd.read_csv(places["csv"], dtype=str, keep_default_na=False)
    lines = places["markdown"].read_text().splitlines()
    table_lines = lines[2 : lines.index("")]
    assert len(frame) == len(table_lines) == len(json.loads(places["json"].read_text())["rows"])
    columns = lines[0].count("|") - 1
    assert {line.replace(r"\|", "").count("|") - 1 for line in table_lines} == {columns}
    strange = frame[frame["run"] == "CRNN_FP32_30E_2CPUs_Train"].iloc[0]
    assert "\x1b" not in strange["card"]
    assert "<img" not in places["markdown"].read_text()
    assert NASTY.split("|")[0] in strange["card"]


def test_a_table_fits_the_terminal():
    frame = table([make_record()])
    assert tables.to_console(frame, 1000).count("\n") == 2
    assert tables.to_console(frame, 60).splitlines()[0].startswith("run")
    assert "power" not in tables.to_console(frame, 60)  # empty in every row
    many = table([varied("GPU", cards, "FP32", "Train", 7, 20) for cards in (1, 2, 4, 8)])
    assert max(map(len, tables.to_console(many, 100).splitlines())) <= 100


@pytest.mark.parametrize(("place", "said"), [("", "no records in"), ("nowhere", "no such file or folder")])
def test_nothing_to_report_is_one_line(tmp_path, place, said):
    with pytest.raises(UserError, match=said):
        report.main([str(tmp_path / place)])
