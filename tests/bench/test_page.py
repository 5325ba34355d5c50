"""The page in a real browser: it sorts, filters, draws and is safe. Skipped, with the reason, where no Chromium is."""

from __future__ import annotations

import json
import re

import pytest

from bench import report
from tests.support.chromium import chromium
from tests.support.varied_records import write


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    write(folder / "runs")
    report.main([str(folder / "runs"), "--html", str(folder / "report.html")])
    return folder / "report.html"


def test_it_is_one_file_that_needs_no_network(page):
    html = page.read_text()
    assert "default-src 'none'" in html
    assert re.findall(r"""(?:src|href)=["']?(?!#|data:)[^"'\s>]+""", re.sub(r"&[a-z#0-9]+;.*", "", html)) == []
    assert re.findall(r"@import|url\(|fetch\(|XMLHttpRequest", html) == []


def test_what_a_record_says_is_text_and_never_markup(page):
    html = page.read_text()
    assert "<img" not in html
    assert "&lt;img src=x onerror=alert(1)&gt;" in html
    assert "\x1b" not in html


@pytest.fixture(scope="module", params=["light", "dark"])
def browser(request, page):
    """Chromium at the page, in light and in dark mode. After the tests its console must be silent."""
    dark = ["--blink-settings=preferredColorScheme=0", "--force-dark-mode"] if request.param == "dark" else []
    with chromium("--window-size=1500,1200", *dark) as driver:
        driver.get(page.as_uri())
        driver.theme = request.param
        yield driver
        assert driver.get_log("browser") == []


def column(browser, name: str) -> list[str]:
    """The cells of a column, of the rows that are to be seen, from top to bottom."""
    return browser.execute_script(
        "return [...document.querySelectorAll('#rows tbody tr')].filter(r => !r.hidden)"
        ".map(r => r.querySelector(`[data-column='${arguments[0]}']`).textContent.trim())",
        name,
    )


def click(browser, name: str) -> str:
    """Click a heading; which way the column is then sorted."""
    [head] = [h for h in browser.find_elements("css selector", "#rows th") if h.text.strip(" ▲▼") == name]
    browser.execute_script("arguments[0].querySelector('button').click()", head)
    return head.get_attribute("aria-sort")


def test_a_click_sorts_and_another_turns_it_round(browser):
    assert click(browser, "images/s") == "ascending"
    rates = [float(cell) for cell in column(browser, "images/s") if cell]
    assert rates == sorted(rates)
    assert column(browser, "images/s")[-1] == ""  # the failed run: empty cells last
    assert click(browser, "images/s") == "descending"
    assert [float(cell) for cell in column(browser, "images/s") if cell] == rates[::-1]
    assert column(browser, "images/s")[-1] == ""
    click(browser, "run")
    assert column(browser, "run") == sorted(column(browser, "run"))


def test_words_and_menus_filter(browser):
    everything = len(column(browser, "run"))
    find = browser.find_element("id", "find")
    find.send_keys("mlu amp")
    assert 0 < len(column(browser, "run")) < everything
    assert all("MLU" in run and "AMP" in run for run in column(browser, "run"))
    menu = browser.find_element("css selector", "select[data-column='run'] option:nth-child(3)")
    find.clear()
    menu.click()
    assert column(browser, "run") == [menu.text]
    assert browser.find_element("id", "count").text == f"1 of {everything} rows"
    browser.find_element("css selector", "select[data-column='run'] option").click()
    assert len(column(browser, "run")) == everything


def test_charts_are_drawn_and_another_can_be_picked(browser):
    headings = [h.text for h in browser.find_elements("css selector", ".charts h2")]
    assert headings[:5] == [
        "History", "Throughput by cards", "Accuracy against throughput, tests", "Latency distribution", "Step times",
    ]  # fmt: skip
    assert browser.execute_script("return document.documentElement.outerHTML.includes('NaN')") is False
    assert browser.execute_script("return document.querySelectorAll('.band.warmup').length") > 10
    assert browser.execute_script("return document.querySelectorAll('.mark').length") >= 1  # the step in the history
    pick = browser.find_elements("css selector", ".pick")[0]
    figures = pick.find_element("xpath", "..").find_elements("tag name", "figure")
    pick.find_element("css selector", "option:nth-child(2)").click()
    assert [f.is_displayed() for f in figures[:3]] == [False, True, False]


def test_marks_stay_inside_their_charts(browser):
    outside = browser.execute_script(
        "return [...document.querySelectorAll('svg circle')].filter(c => c.cx.baseVal.value < 0 ||"
        " c.cx.baseVal.value > 640 || c.cy.baseVal.value < 0 || c.cy.baseVal.value > 320).length"
    )
    assert outside == 0


def test_a_row_leads_to_its_record(browser):
    link = browser.find_element("css selector", "#rows tbody tr:not(.failed) a")
    browser.execute_script("arguments[0].click()", link)
    target = browser.find_element("id", link.get_attribute("href").partition("#")[2])
    browser.execute_async_script("setTimeout(arguments[0], 50)")
    assert target.get_attribute("open")
    assert json.loads(target.find_element("tag name", "pre").text)["provenance"]["commit"]


def test_the_theme_follows_the_system_and_the_button(browser):
    def ground():
        return browser.execute_script("return getComputedStyle(document.body).backgroundColor")

    white, dark = "rgb(255, 255, 255)", "rgb(15, 19, 24)"
    assert ground() == (dark if browser.theme == "dark" else white)
    browser.find_element("id", "theme").click()
    assert ground() == (white if browser.theme == "dark" else dark)
    browser.find_element("id", "theme").click()


def test_the_page_itself_does_not_scroll_sideways(browser):
    assert browser.execute_script("return document.documentElement.scrollWidth <= innerWidth")


def test_it_opens_with_what_changed(browser):
    [first, *_] = browser.find_elements("css selector", "h2")
    assert first.text == "What changed"
    said = browser.find_element("css selector", ".changes li.better").text
    assert re.fullmatch(r"better\s+CRNN_FP32_30E_1GPU_Train, .*: \+5.* %.* against commit 181818181", said)


def test_other_columns_are_shown_when_asked_for(browser):
    def visible():
        return [h.text for h in browser.find_elements("css selector", "#rows th") if h.is_displayed()]

    few = visible()
    assert 8 <= len(few) <= 12
    browser.find_element("id", "more").click()
    assert len(visible()) > 25
    browser.find_element("id", "more").click()
    assert visible() == few


def test_a_point_tells_on_keyboard_focus(browser):
    tip = browser.find_element("id", "tip")
    browser.execute_script("document.querySelector('figure:not([hidden]) circle').focus()")
    assert tip.is_displayed()
    assert "images/s" in tip.text
    browser.execute_script("document.activeElement.blur()")
    assert not tip.is_displayed()


@pytest.mark.parametrize("width", [390, 1320])
def test_it_is_read_without_scrolling_sideways(browser, width):
    """On a phone every number of a row is in sight, and a chart's letters are not smaller than 9 px."""
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    try:
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width
        right = "Math.max(...[...document.querySelectorAll(`#rows tbody [data-column='images/s']`)].map("
        assert browser.execute_script(f"return {right} c => c.getBoundingClientRect().right))") <= width
        scale = "document.querySelector('figure:not([hidden]) svg')"
        letters = f"return {scale}.getBoundingClientRect().width / 640 * parseFloat(getComputedStyle({scale}"
        assert browser.execute_script(f"{letters}.querySelector('text')).fontSize)") >= 9
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
