"""The reader of command lines: its syntax, and one line for every mistake in any option of any program."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.errors import UserError, one_line
from bench.options import Also, Bounds, Command, FileList, Positional, Shares, check_bounds

ROOT = Path(__file__).resolve().parents[2]
PEERS = {"benchmarks.render_peer", "benchmarks.serving_peer"}  # run where another system is installed
PARTS = {"benchmarks.ranks"}  # processes that a program starts, which are given JSON


def programs() -> list[str]:
    files = [path for folder in ("models", "bench", "benchmarks") for path in sorted((ROOT / folder).glob("*.py"))]
    named = [f"{path.parent.name}.{path.stem}" for path in files if '\nif __name__ == "__main__":' in path.read_text()]
    return [name for name in named if name not in PEERS | PARTS]


@dataclass
class Example:
    """What an option can be."""

    images: Annotated[list[Path], Positional("IMAGE")]
    out: Annotated[Path, Positional("OUT")]
    steps: Annotated[int | None, Bounds(1), Also("max_steps")] = None
    """How many"""
    split: Annotated[tuple[float, float, float], Shares()] = (0.8, 0.1, 0.1)
    metrics: list[str] = field(default_factory=list)
    sets: Annotated[list[str], FileList()] = field(default_factory=list)
    cards: tuple[int, ...] = (1, 2)
    device: Literal["MLU", "GPU"] | None = None
    log_every: int = 50
    resume: bool = False


COMMAND = Command("example", Example, "a.png out")


def read(line: str) -> Example:
    return COMMAND.parse(["a.png", "out", *line.split()])


def test_positional_words_stand_anywhere_and_a_list_takes_what_others_leave():
    options = COMMAND.parse(["a.png", "--steps", "3", "b.png", "--resume", "out"])
    assert (options.images, options.out, options.steps, options.resume) == (
        [Path("a.png"), Path("b.png")],
        Path("out"),
        3,
        True,
    )


@pytest.mark.parametrize("line", ["--log-every 3", "--log_every 3", "--log-every=3", "--log_every=3"])
def test_hyphens_and_underscores_are_one(line):
    assert read(line).log_every == 3


@pytest.mark.parametrize("shares", ["0.6,0.2,0.2", "0.6/0.2/0.2", "[0.6,0.2,0.2]", "0.6 0.2 0.2"])
def test_shares_in_every_spelling(shares):
    assert read(f"--split {shares}").split == (0.6, 0.2, 0.2)


@pytest.mark.parametrize("names", ["a,b", "a b", "[a,b]", '["a","b"]', "a --metrics b"])
def test_lists_in_every_spelling(names):
    assert read(f"--metrics {names}").metrics == ["a", "b"]


def test_paths_of_a_list_may_hold_commas():
    assert read("--sets a,b c=d \udcff𐀀").sets == ["a,b", "c=d", "\udcff𐀀"]  # and bytes that are not UTF-8


def test_an_option_has_the_name_of_another_program_too(capsys):
    assert read("--max-steps 3").steps == read("--max_steps=3").steps == 3
    with pytest.raises(SystemExit):
        COMMAND.parse(["--help"])
    assert "or --max-steps" in capsys.readouterr().out


def test_a_flag_takes_no_word_that_is_not_a_truth():
    assert COMMAND.parse(["--resume", "a.png", "out"]).resume
    assert not read("--resume false").resume


def test_a_config_is_between_the_defaults_and_the_command_line(tmp_path):
    file = tmp_path / "run.yaml"
    file.write_text("steps: 7\nlog-every: 9\nsplit: [0.5, 0.25, 0.25]\nresume: true\ndevice: null\n")
    options = read(f"--steps 8 --config {file}")
    assert (options.steps, options.log_every, options.split, options.resume) == (8, 9, (0.5, 0.25, 0.25), True)
    file.write_text("stesp: 7\n")
    with pytest.raises(UserError, match=r"run.yaml: no option 'stesp' \(did you mean --steps\?\)"):
        read(f"--config {file}")
    with pytest.raises(UserError, match="No such file"):
        read("--config nowhere.yaml")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--stpes 3", r"^unrecognized option --stpes \(did you mean --steps\?\)$"),
        ("--log 3", r"did you mean --log-every\?"),
        ("--steps 0", "^--steps is at least 1, not 0$"),
        ("--steps 1.5", "^--steps wants a whole number, not '1.5'$"),
        ("--split 0,0,0", "^--split wants shares of 0 or more, not all of them 0$"),
        ("--split 0.9,0.1", "^--split wants 3 numbers with commas, not '0.9,0.1'$"),
        ("--cards 1,x", "^--cards wants whole numbers with commas, not '1,x'$"),
        ("--device TPU", r"^--device is one of MLU, GPU, not 'TPU'"),
    ],
)
def test_a_mistake_is_one_line(line, message):
    with pytest.raises(UserError, match=message):
        read(line)


def test_what_is_missing_is_named_with_an_example():
    with pytest.raises(UserError, match=r"^want IMAGE, as in: python -m example a.png out$"):
        COMMAND.parse([])


def test_words_for_another_program():
    assert Command("x", Example, rest="--").parse_known(["a", "b", "--", "--graph", "c"])[1] == ["--graph", "c"]
    assert Command("x", Example, rest="unknown").parse_known(["a", "b", "--graph", "c", "--steps", "3"])[1] == [
        "--graph",
        "c",
    ]


def test_bounds_hold_for_the_api():
    with pytest.raises(UserError, match=r"^--steps is at least 1, not 0$"):
        check_bounds(Example([], Path(), steps=0))


@pytest.mark.parametrize("program", programs())
def test_help_is_for_80_columns_and_shows_bounds(program, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    command = importlib.import_module(program).COMMAND
    with pytest.raises(SystemExit):
        command.parse(["--help"])
    text = capsys.readouterr().out
    long = [line for line in text.splitlines() if len(line) > 80 and not line.startswith(("usage:", "example:"))]
    assert not long
    for option in command.options.values():
        bounds = option.mark(Bounds)
        assert not bounds or str(bounds) in " ".join(text.split())


NONSENSE = [
    "-1", "0", "1e999", "nan", "-inf", "100000000000000000000", "", "null", "[", "[]", "{", ",", "a,b", "0/0/0",
    "é\u202e", "*", "!!python/name:os.system", "1.5", "true", "--", "0x10", "1_000",
]  # fmt: skip
TEXT = st.text(st.characters(exclude_characters="\0"), max_size=8)  # no program can be given a NUL


@pytest.mark.parametrize("program", programs())
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_nonsense_is_one_line_or_a_value_within_bounds(program, data):
    command = importlib.import_module(program).COMMAND
    names = sorted(command.named)
    words = [word for option in command.options.values() if option.positional for word in [f"{option.key}1"]]
    for name in data.draw(st.lists(st.sampled_from(names), max_size=3)) if names else []:
        words.append(f"--{name}={data.draw(st.sampled_from(NONSENSE) | TEXT)}")
    try:
        options, _ = command.parse_known(words)
    except UserError as error:
        assert len(one_line(error).splitlines()) == 1
    else:
        check_bounds(options)
