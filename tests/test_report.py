import pandas as pd
import pytest
from records import make_record

from bench import report
from bench.refusal import Refusal


def test_the_table_says_what_was_measured_and_leaves_the_rest_empty():
    row = report.table([make_record(accuracy=None, latency=[])]).iloc[0]
    assert row["run"] == "CRNN_FP32_30E_1CPU_Train"
    assert row["images/s"] == "320.0"
    assert row["step p50 ms"] == "100.00"
    assert row["data wait %"] == "1.00"
    assert row["words read %"] == row["n"] == row["power W"] == row["batch-1 p50 ms"] == ""
    assert row["commit"] == "ccccccccc"


def test_the_sample_and_a_dirty_tree_are_said():
    record = make_record(provenance={"commit": "abc", "dirty": True})
    record.dataset["is_sample"] = True
    row = report.table([record]).iloc[0]
    assert row["dataset"] == "Synth90k (sample)"
    assert row["commit"] == "abc+"


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


def test_markdown_and_csv_hold_the_same_cells(tmp_path, capsys):
    make_record(cards=4).save(tmp_path)
    report.main([str(tmp_path), "--markdown", str(tmp_path / "t.md"), "--csv", str(tmp_path / "t.csv")])
    frame = pd.read_csv(tmp_path / "t.csv", dtype=str, keep_default_na=False)
    assert frame.loc[0, "cards"] == "4"
    header, _, row = (tmp_path / "t.md").read_text().strip().splitlines()
    assert [c.strip() for c in header.strip("|").split("|")] == list(frame)
    assert [c.strip() for c in row.strip("|").split("|")] == list(frame.loc[0])


def test_a_table_too_wide_for_the_terminal_is_turned_on_its_side():
    frame = report.table([make_record()])
    assert report.console(frame, 1000).count("\n") == 2
    assert report.console(frame, 60).splitlines()[0].startswith("run")
    assert "power" not in report.console(frame, 60)  # empty in every row


def test_nothing_to_report_is_one_line(tmp_path):
    with pytest.raises(Refusal, match="no records in"):
        report.main([str(tmp_path)])
