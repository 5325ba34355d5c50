"""docs/from-other-systems.md tells people what to type: the programs take it."""

from __future__ import annotations

import re
import shlex

import pytest

from bench.options import Command
from bench.records.run_name import RunName
from models.run.options import Infer, Train, parse, recipe_path
from tests.support import ROOT

PAGE = (ROOT / "docs" / "from-other-systems.md").read_text(encoding="utf8")
KINDS = {"train": Train, "test": Infer}
COMMANDS = re.findall(r"python -m models\.(train|test) ([^`\n;]+)", PAGE)
TABLES = PAGE.partition("## What was run")[0]
OURS = [cell for row in re.findall(r"^\|.*\|(.*)\|$", TABLES, re.MULTILINE) for cell in re.findall(r"`(--[^`]+)`", row)]


@pytest.mark.parametrize("program, words", COMMANDS, ids=lambda part: part[:60])
def test_commands_are_taken(program, words):
    recipe = re.search(r"--recipe (\w+)", words)[1]
    words = shlex.split(words.replace("--recipe R", "--recipe crnn"))
    options = parse(KINDS[program], words, f"models.{program}")
    assert recipe == "R" or recipe_path(options.recipe).stem == recipe


@pytest.mark.parametrize("words", OURS)
def test_options_named_alone_are_options(words):
    words = re.sub(r"--recipe R\b", "--recipe crnn", words)
    kinds = [kind for kind in (Train, Infer) if all(takes(kind, word) for word in re.findall(r"--([\w.-]+)", words))]
    assert kinds, words


def takes(kind: type, option: str) -> bool:
    names = Command("", kind).named | {"show", "codes", "build"}  # of models.demo and models.prepare
    return option.replace("-", "_") in names


def test_scripts_exist_or_can_be_copied_under_that_name():
    named = re.findall(r"bash run_scripts/(\w+)\.sh", PAGE)
    assert named
    for name in named:
        assert RunName.parse(name)
