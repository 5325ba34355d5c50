"""Every command that a page, a comment or a --help shows is one that the programs take."""

from __future__ import annotations

import re

import pytest

from tests.support import ROOT, commands
from tests.support.programs import programs

PAGES = sorted(
    path
    for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "results/README.md"]
    if path.name != "CHANGELOG.md"  # which says what was typed then
)
CODE = sorted(
    path
    for pattern in (
        "*.sh", "run_scripts/*.sh", "docker/**/*", "docs/ci/*", ".github/**/*.yml", "tests/*/*.sh", "benchmarks/*",
        "models/**/*.py", "models/recipes/*.yaml", "bench/**/*.py", "tests/faults/*.py", "tests/support/*.py",
        "Dockerfile", "pyproject.toml",
    )
    for path in ROOT.glob(pattern)
    if path.is_file() and "__pycache__" not in path.parts
)  # fmt: skip
# Of docker and Slurm, which pages name, too.
OTHERS = frozenset({"gpus", "shm-size", "network", "build-arg", "privileged", "cap-add", "user", "read-only", "gres"})


def text_of(path) -> str:
    if path.suffix == ".ipynb":
        return commands.text_of_notebook(path)
    text = path.read_text(encoding="utf8")
    if path.name == "from-other-systems.md":  # the first column is what others type
        text = re.sub(r"^\|[^|\n]*\|", "|", text, flags=re.MULTILINE)
    return text


def failures(lines, check) -> list[str]:
    found = []
    for line in lines:
        try:
            check(line)
        except commands.CommandError as error:
            found.append(f"{line}  ->  {error}")
    return found


@pytest.mark.parametrize("path", [*PAGES, ROOT / "demo.ipynb"], ids=lambda path: path.name)
def test_commands_of_pages_are_taken(path):
    assert failures(commands.commands_of_page(text_of(path)), commands.check) == []


@pytest.mark.parametrize("path", [*PAGES, ROOT / "demo.ipynb"], ids=lambda path: path.name)
def test_options_that_pages_name_alone_exist(path):
    lines = commands.options_of_page(text_of(path))
    every = [*programs(), "tests.faults.kill", "tests.faults.service"]
    assert failures(lines, lambda line: commands.check_options(line, every, OTHERS)) == []


def test_commands_of_comments_are_taken():
    lines = [line for path in CODE for line in commands.commands_of_comments(path.read_text(encoding="utf8"))]
    assert len(lines) > 20
    assert failures(dict.fromkeys(lines), commands.check) == []


@pytest.mark.parametrize("program", programs())
def test_the_example_of_help_is_taken(program):
    [line] = re.findall(r"^\s*example: (.+)$", commands.help_text(program), re.MULTILINE)
    assert commands.check(line)


@pytest.mark.parametrize(
    "line",
    [
        "bash run_scripts/CRNN_FP32_30E_4MLUs_Train.sh --bach-size 64",
        ".venv/bin/python -m models.prepare --sorce my_words --adit",
        "python -m models.prepare --source my_words --audits",
        "python -m models.test --engine onnxruntim",
        "python -m models.train --steps many",
        "python -m models.tran --steps 5",
        "python -m bench.errors",
        "bash run_scripts/CRNN_FP32_30E_4MLU_Trian.sh",
        "bash run_scripts/quikstart.sh",
        "DEVCE=CPU bash run_scripts/CRNN_Infer.sh",
        "bash docker/run_docker.sh CRNN_Infer --step 5x",
        "bash run_scripts/compare.sh main HEAD --metrik throughput CRNN_FP32_1CPU_Infer",
        "python -m bench.sweep CRNN_Train -- --stpes 5",
        "python -m bench.attribute CRNN_FP32_30E_1CPU_Train --bach-size 5",
        "cd x && python -m bench.report --htlm FILE",
    ],
)
def test_a_misspelt_command_is_found(line):
    [found] = commands.commands_of_page(f"Text, `{line}`.\n") if line[0] != "c" else [line]
    with pytest.raises(commands.CommandError):
        commands.check(found)


@pytest.mark.parametrize("words", ["--bach-size", "--engine onnxruntim", "--latency-ms 5 --audit"])
def test_a_misspelt_option_is_found(words):
    [found] = commands.options_of_page(f"Text, `{words}`.\n")
    with pytest.raises(commands.CommandError):
        commands.check_options(found, programs(), OTHERS)
