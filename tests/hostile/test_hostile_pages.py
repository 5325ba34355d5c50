"""Hostile names in Chromium: the page of mistakes and the report show them as text and do nothing else."""

from __future__ import annotations

import csv
import io

import pytest

from bench import report
from models.data.charset import Charset
from models.data.opening import open_source
from models.dataset import Shape, WordDataset
from models.scoring import mistakes
from models.scoring.evaluate import Prediction
from models.scoring.protocol import accuracy_section
from tests.support.chromium import chromium
from tests.support.data_samples import make_store
from tests.support.images import jpeg
from tests.support.varied_records import varied

HOSTILE = (
    "</dd></li><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"
    "<a href=javascript:document.title='owned'>x</a>{{7*7}}${7*7}\x1b[31m\x07\u202e&lt;b&gt;"
)
SEEN = "</dd></li><script>document.title='owned'</script><img src=x"


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """The page of mistakes and the report, every name and label in them hostile."""
    folder = tmp_path_factory.mktemp("pages")
    make_store(folder / "db", [HOSTILE, HOSTILE[::-1], "good"], [jpeg(), jpeg(), jpeg()])
    data = WordDataset(open_source(folder / "db", "test"), Shape(), Charset(), out_of_charset="remove")
    data.source.name = HOSTILE
    reads = [
        Prediction(0, HOSTILE, "x" + HOSTILE, 0.9),
        Prediction(1, HOSTILE[::-1], HOSTILE, 0.8),
        Prediction(2, "good", "good", 1.0),
    ]
    section = accuracy_section(reads, data.source, "test", "greedy", "exact")
    (folder / "mistakes.html").write_text(mistakes.mistakes_page(HOSTILE, section, reads, data), encoding="utf8")
    strange = varied("CPU", 1, "FP32", "Train", 1, 20)
    strange.cell["card"] = strange.dataset["name"] = strange.recipe["name"] = HOSTILE
    strange.provenance["commit"] = HOSTILE
    strange.save(folder / "runs")
    words = [word for kind in ("html", "csv", "markdown") for word in (f"--{kind}", str(folder / f"report.{kind}"))]
    report.main([str(folder / "runs"), *words])
    return folder


@pytest.fixture(scope="module")
def browser():
    with chromium() as driver:
        yield driver


@pytest.mark.parametrize("name", ["mistakes.html", "report.html"])
def test_a_hostile_name_is_text_in_a_browser(name, pages, browser):
    browser.get((pages / name).as_uri())
    assert browser.get_log("browser") == []  # nothing was even blocked: there was nothing to block
    text = browser.execute_script("return document.body.textContent")
    assert SEEN in text.replace("\n", "")
    assert not any(c in text for c in "\x1b\x07\u202e")
    assert "owned" not in browser.title or SEEN in browser.title
    assert (
        browser.execute_script("return document.querySelectorAll('img:not([src^=\"data:\"]), a[href^=j], b').length")
        == 0
    )
    assert browser.execute_script("return document.scripts.length") == (1 if name == "report.html" else 0)


def test_the_report_runs_its_own_script_and_no_other(pages, browser, tmp_path):
    """Were something to get through the escaping, the page's policy still stops it."""
    whole = (pages / "report.html").read_text(encoding="utf8")
    (tmp_path / "broken.html").write_text(whole.replace("<h1>", "<script>document.title='owned'</script><h1>"))
    browser.get((tmp_path / "broken.html").as_uri())
    assert browser.title != "owned"
    assert "Content Security Policy" in str(browser.get_log("browser"))
    assert browser.find_element("id", "count").text.endswith("rows")  # which the page's script wrote


def test_tables_for_spreadsheets_and_github(pages):
    whole = (pages / "report.csv").read_text(encoding="utf8")
    rows = list(csv.reader(io.StringIO(whole)))
    assert {len(row) for row in rows} == {len(rows[0])}
    assert all(line.startswith('"') for line in whole.splitlines())
    text = (pages / "report.markdown").read_text(encoding="utf8")
    assert "<script" not in text and "\x1b" not in text and "](" not in text


def test_no_name_in_a_table_is_a_formula(tmp_path):
    strange = varied("CPU", 1, "FP32", "Train", 1, 20)
    strange.cell["card"], strange.dataset["name"] = "=HYPERLINK(1)", "\uff20SUM(A1)"
    strange.save(tmp_path / "runs")
    report.main([str(tmp_path / "runs"), "--csv", str(tmp_path / "report.csv")])
    cells = [cell for row in csv.reader((tmp_path / "report.csv").open(encoding="utf8")) for cell in row]
    assert [cell for cell in cells if cell[:1] in ("=", "@", "\uff20", "\t")] == []
    assert any("=HYPERLINK(1)" in cell for cell in cells) and any("SUM(A1)" in cell for cell in cells)
