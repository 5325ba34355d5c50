import dataclasses
import json

import pandas as pd
import pytest

from bench import report
from bench.errors import UserError
from bench.judging import baselines
from bench.records.cells import group_repeats, key
from bench.records.record import Record
from bench.reporting import index, tables
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
    assert 85 < float(four["scaling %"].split()[0]) < 95  # 4 ** -0.05 = 93 %, and the slowest rank is 3 % slower


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
    assert ratios["FP32"] == ""
    assert ratios["AMP"].startswith("1.60 ± 0.0")  # of single runs, by what their own steps say


def test_devices_are_compared_where_they_agree_only():
    gpu, mlu = (varied(device, 1, "FP32", "Train", 7, 20) for device in ("GPU", "MLU"))
    [pair] = compare_rows(make_rows([gpu, mlu]))
    assert pair.one.first.cell["device"] == "GPU"  # the faster one first
    assert pair.ratio.value == pytest.approx(14000 / 9000, rel=1e-3)
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
    begin = next(i for i, line in enumerate(lines) if line.startswith("| run"))
    table_lines = lines[begin + 2 : lines.index("", begin)]
    assert lines[0] == tables.MARKER
    assert len(frame) == len(table_lines) == len(json.loads(places["json"].read_text())["rows"])
    columns = lines[begin].count("|") - 1
    assert {line.replace(r"\|", "").count("|") - 1 for line in table_lines} == {columns}
    strange = frame[frame["run"] == "CRNN_FP32_30E_2CPUs_Train"].iloc[0]
    assert "\x1b" not in strange["card"]
    assert "<img" not in places["markdown"].read_text()
    assert NASTY.split("|")[0] in strange["card"]


def saved(folder, days, factor=1.0, commit="c", runs=3, **changes):
    for day in days:
        for i in range(runs):
            provenance = {"commit": commit * 40, "dirty": False, "host": "h", "versions": {"torch": "2.1"}}
            when = f"2026-03-{day:02}T10:{i + 30 * (commit != 'c'):02}:00+00:00"
            step_s = 0.1 / factor * (1 + 0.001 * i)
            make_record(**{"step_s": step_s, "started_utc": when, "provenance": provenance, **changes}).save(folder)


def shown(folder, *words) -> dict:
    report.main([str(folder), "--json", str(folder / "rows.out"), *map(str, words)])
    return json.loads((folder / "rows.out").read_text())["rows"]


@pytest.mark.parametrize(("factor", "word"), [(0.9, "worse"), (1.0, "same"), (1.1, "better")])
def test_a_row_says_what_changed_against_the_build_before_it(tmp_path, factor, word):
    saved(tmp_path, [1])
    saved(tmp_path, [1], factor, commit="d")
    [row] = shown(tmp_path)
    assert row["verdict against previous"] == word
    assert row["change against previous"] == pytest.approx(factor - 1, abs=0.005)
    assert row["previous commit"] == "c" * 9
    assert row["against previous"].endswith(f", {word}")


def test_another_day_is_not_taken_for_another_build(tmp_path):
    saved(tmp_path, [1])
    saved(tmp_path, [2], 0.95, commit="d")
    assert shown(tmp_path)[0]["verdict against previous"] == "unclear"
    saved(tmp_path, [3, 4, 5, 6, 7], commit="b")  # days that lie near each other
    saved(tmp_path, [8], 0.90, commit="e")
    assert shown(tmp_path)[0]["verdict against previous"] == "worse"


def test_another_environment_has_no_build_before_it(tmp_path):
    saved(tmp_path, [1])
    saved(tmp_path, [2], provenance={"commit": "d" * 40, "dirty": False, "versions": {"torch": "2.2"}})
    rows = shown(tmp_path)
    assert {row["against previous"] for row in rows} == {None}
    said = [note for row in rows for note in row["notes"]]
    assert said[0].startswith("not comparable with commit ccccccccc, measured before: torch 2.1 there, 2.2 here")


def test_a_trend_is_drawn_of_three_builds_and_more(tmp_path):
    for day, (commit, factor) in enumerate((("a", 1.0), ("b", 1.0), ("d", 0.9), ("e", 1.1)), 1):
        saved(tmp_path, [day], factor, commit=commit)
        [row] = shown(tmp_path)
        assert row["trend"] == {1: None, 2: None, 3: "██▁", 4: "▅▅▁█"}[day]
    saved(tmp_path, [20], 1.1005, commit="f")
    assert shown(tmp_path)[0]["trend"] == "▅▅▁██"


def test_the_baseline_has_a_column(tmp_path):
    saved(tmp_path, [1, 2, 3, 4])
    baselines.store_baseline([Record.load(path) for path in sorted(tmp_path.glob("*.json"))], tmp_path / "base")
    saved(tmp_path, [5], 0.9, commit="d")
    [row] = shown(tmp_path, "--baselines", tmp_path / "base")
    assert row["verdict against baseline"] == "worse"


def test_a_failed_record_is_a_row_of_its_own_and_in_no_median(tmp_path):
    saved(tmp_path, [1])
    saved(tmp_path, [1], 5.0, runs=1, status="crash", status_reasons=["no"])
    good, bad = sorted(shown(tmp_path), key=lambda row: row["status"] == "crash")
    assert good["images/s"] == pytest.approx(320, rel=0.01)
    assert (good["runs"], bad["runs"]) == (3, 1)
    assert bad["notes"] == ["crash: no"]


@pytest.mark.parametrize("part", ["charset_sha256", "lexicon_sha256", "weights_sha256"])
def test_files_count_by_their_content_and_not_by_their_name(part):
    def of(digest, path):
        option = {"charset_sha256": {"data": {"charset": path}}, "lexicon_sha256": {"lexicon": path}}
        contents = {"commit": "c" * 40, "dirty": False, "contents": {part: digest}}
        return make_record(provenance=contents, options=option.get(part, {"start_from": path}))

    assert key(of("x", "a/words")) == key(of("x", "b/words"))
    assert key(of("x", "a/words")) != key(of("y", "a/words"))


def test_data_counts_by_its_content():
    of = [make_record(dataset=make_record().dataset | {"digest_sha256": digest}) for digest in ("x", "x", "y")]
    first, same, other = map(key, of)
    assert first == same != other


def test_two_records_of_the_same_steps_are_one(tmp_path, capsys):
    first = varied("CPU", 1, "FP32", "Train", 1, 1)
    first.save(tmp_path)
    dataclasses.replace(first, record_id="f" * 32).save(tmp_path)
    report.main([str(tmp_path)])
    assert "to the last digit: no two runs share a clock" in capsys.readouterr().err


def test_an_index_is_kept_beside_many_records_and_believed_by_digest_alone(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(index, "WORTH", 3)
    saved(tmp_path, [1, 2])
    first = shown(tmp_path)
    assert (tmp_path / index.NAME).exists()
    monkeypatch.setattr(index, "examine_record", None)  # nothing is read again
    assert shown(tmp_path) == first
    monkeypatch.undo()
    monkeypatch.setattr(index, "WORTH", 3)
    victim = sorted(tmp_path.glob("*.json"))[0]
    victim.write_text(victim.read_text().replace('"Test CPU"', '"Fast CPU"'))
    shown(tmp_path)
    assert "cell.card was edited" in capsys.readouterr().err
    (tmp_path / index.NAME).write_text("no database")
    assert len(shown(tmp_path)) == 1


def test_columns_are_chosen_and_constant_ones_said_once(tmp_path, capsys):
    saved(tmp_path, [1])
    report.main([str(tmp_path)])
    said = capsys.readouterr().out
    assert "in every row: dataset Synth90k; card Test CPU; cards 1" in said
    head = next(line for line in said.splitlines() if line.startswith("run"))
    assert "card" not in head
    report.main([str(tmp_path), "--columns", "run,host,torch"])
    head = next(line for line in capsys.readouterr().out.splitlines() if line.startswith("run"))
    assert head.split() == ["run", "host", "torch"]
    with pytest.raises(UserError, match="no column 'speed'; there are run"):
        report.main([str(tmp_path), "--columns", "speed"])


def test_commits_become_links_of_this_repository_alone(tmp_path):
    saved(tmp_path, [1])
    for name in ("markdown", "html"):
        report.main([str(tmp_path), f"--{name}", str(tmp_path / "x"), "--repo-url", "https://example.org/o/r/"])
        assert f"https://example.org/o/r/commit/{'c' * 40}" in (tmp_path / "x").read_text()
    with pytest.raises(UserError, match="begins with https"):
        report.main([str(tmp_path), "--repo-url", "javascript:alert(1)"])


def test_the_export_for_github_action_benchmark(tmp_path):
    saved(tmp_path, [1])
    report.main([str(tmp_path), "--benchmark-action", str(tmp_path / "b")])
    rate, accuracy = json.loads((tmp_path / "b").read_text())
    assert (rate["unit"], accuracy["unit"]) == ("images/s", "%")
    assert rate["value"] == pytest.approx(320, rel=0.01)
    assert {"name", "unit", "value", "range", "extra"} == set(rate)


def test_the_last_rows_are_the_newest(tmp_path):
    saved(tmp_path, [9])
    saved(tmp_path, [1], cell=make_record().cell | {"batch_per_card": 64, "global_batch": 64}, batch=64)
    assert [row["started_utc"][:10] for row in shown(tmp_path, "--last", 1)] == ["2026-03-09"]


def test_two_runs_have_no_interval_and_say_how_far_apart_they_are(tmp_path):
    saved(tmp_path, [1], runs=2)
    [row] = shown(tmp_path)
    assert row["95 % interval"] is None
    assert 0 <= row["± %"] < 5


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


def test_what_torchrun_sets_for_its_processes_is_no_other_environment():
    one, two = (varied("CPU", cards, "FP32", "Train", cards, 20) for cards in (1, 2))
    launched = {"TORCH_NCCL_ASYNC_ERROR_HANDLING": "1", "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
    two.provenance["environment"] = launched
    rows = make_rows([one, two])
    compare_rows(rows)
    assert [row.scaling is not None for row in rows] == [False, True]
    two.provenance["environment"] = {**launched, "NCCL_ALGO": "Tree"}
    rows = make_rows([one, two])
    compare_rows(rows)
    assert rows[1].notes[-1].endswith("differs in NCCL ALGO")
