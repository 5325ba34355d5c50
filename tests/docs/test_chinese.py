"""The Chinese pages say the same: their commands, scripts and options are those of the English ones."""

from __future__ import annotations

import re

import pytest

from tests.support import ROOT

PAIRS = [("README.md", "README.zh.md"), ("docs/mlu.md", "docs/mlu.zh.md")]


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf8")


def commands(page: str) -> list[str]:
    """Lines of fenced bash and Python, without the comments, which are translated."""
    blocks = re.findall(r"^```(?:bash|python)\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    lines = [re.sub(r"(^|\s+)#.*", "", line) for block in blocks for line in block.splitlines()]
    return [line for line in lines if line]


@pytest.mark.parametrize(("english", "chinese"), PAIRS)
def test_the_commands_are_the_same(english, chinese):
    assert commands(text(chinese)) == commands(text(english)) != []


@pytest.mark.parametrize(("english", "chinese"), PAIRS)
def test_scripts_and_settings_that_one_names_the_other_names(english, chinese):
    """Inline: names of scripts, and settings in capitals."""
    script, setting = r"[A-Z][A-Z0-9_]*(?:_Train|_Infer)\.sh", r"[A-Z][A-Z0-9]+_[A-Z0-9_]+"
    named = re.compile(rf"`(?:run_scripts/)?({script}|{setting})(?:=[^`]*)?`")
    missing = set(named.findall(text(english))) - set(named.findall(text(chinese)))
    assert missing - {name for name in missing if name.startswith("FAKE_MLU")} == set()


def test_each_leads_to_the_other():
    for english, chinese in PAIRS:
        assert f"]({chinese.rpartition('/')[2]})" in text(english)
        assert f"]({english.rpartition('/')[2]})" in text(chinese)


@pytest.mark.parametrize("name", [chinese for _, chinese in PAIRS])
def test_every_link_leads_somewhere(name):
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)]+)\)", text(name)) if not link.startswith("http")]
    assert [link for link in links if link and not ((ROOT / name).parent / link).exists()] == []
