"""Commands as pages show them, and the check that the programs would take them: `check(line)`.

Nothing is run: a program's own reader of options is called with the words of the command, and stopped after it.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import importlib
import io
import json
import re
import runpy
import shlex
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import jsonargparse

from bench.records.run_name import RunName
from tests.support import ROOT

SEPARATORS = {"|", "||", "&&", ";", "&"}
REDIRECTIONS = {">", ">>", "<", "2>", "2>&1"}
PLACEHOLDER = re.compile(r"<[^>]+>|\$\{?\w+\}?|(?<!\w)[A-Z]+(_[A-Z]+)*(?!\w)")
TRIES = ("{}", "1", "1.5", "x.json", "crnn", "x=0.1")  # what a placeholder may stand for
OURS = r"(?:models|bench|benchmarks|tests)\.[\w.]+"
IN_PROSE = re.compile(
    rf"((?:\b[A-Z_]+=\S+ )*(?:\S*python3? (?:-m {OURS}|benchmarks/)|bash (?:run_scripts|docker|tests|benchmarks)/)"
    r"[^`\n]*?)(?=  |`|\"?,?$|\.$|[;,.] |\) )",
    re.MULTILINE,
)


class CommandError(Exception):
    """A command that the program would refuse."""


class _Parsed(BaseException):
    """Raised in place of what a program does after it has read its options."""

    def __init__(self, rest: list[str]):
        super().__init__()
        self.rest = rest


def commands_of_page(text: str) -> Iterator[str]:
    """Every line of the fenced and indented blocks, and every piece of inline code that begins like a command."""
    fenced = re.findall(r"^```(?:bash|sh|console)?\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    text = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    indented = re.findall(r"(?:^    .*\n)+", text, re.MULTILINE)
    for block in [*fenced, *indented]:
        variables = {}
        for line in map(str.strip, block.replace("\\\n", " ").splitlines()):
            for name, value in variables.items():
                line = re.sub(rf"\${name}\b", lambda _, value=value: value, line)
            if assigned := re.fullmatch(r"""([A-Z]+)=("[^"]*"|'[^']*'|\S+)( *#.*)?""", line):
                variables[assigned[1]] = assigned[2].strip("\"'")
            elif re.match(r"[A-Z_]+=|export |bash |\S*python3? |source |docker ", line):
                yield line
    for span in re.findall(r"(?<!`)`([^`]+)`(?!`)", re.sub(r"^    .*\n", "", text, flags=re.MULTILINE)):
        span = " ".join(span.split())
        if re.match(r"[A-Z_]+=\S* ?(bash|python|\.venv)?|bash |\S*python3? -m |\S*python3? benchmarks/", span):
            yield span


def options_of_page(text: str) -> Iterator[str]:
    """Inline code that is options without their program: `--resume`, `--engine openvino`."""
    text = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    for span in re.findall(r"(?<!`)`(--[a-z][^`]*)`(?!`)", text):
        yield " ".join(span.split())


def commands_of_comments(text: str) -> Iterator[str]:
    """Commands inside comments and docstrings."""
    for line in text.splitlines():
        if line.lstrip().startswith("#") or not line.startswith((" ", "\t")) or "`" in line or "python -m" in line:
            yield from IN_PROSE.findall(line.replace('"""', ""))


def text_of_notebook(path: Path) -> str:
    cells = json.loads(path.read_text(encoding="utf8"))["cells"]
    return "\n\n".join("".join(cell["source"]) for cell in cells)


def check(line: str) -> list[str]:
    """Check every command of a line; gives the programs that read their words. Raises CommandError."""
    try:
        words = shlex.split(line, comments=True)
    except ValueError as error:
        raise CommandError(f"{line}: {error}") from None
    programs, command = [], []
    for word in [*words, ";"]:
        if word in SEPARATORS or word.endswith(";"):
            command += [word[:-1]] if word[:-1] and word not in SEPARATORS else []
            programs += check_command(command) if command else []
            command = []
        else:
            command.append(word)
    return programs


def check_command(words: list[str]) -> list[str]:
    for place, word in enumerate(words):
        if word in REDIRECTIONS:
            words = words[:place]
            break
    if any(re.match(r"\[(-|[A-Z])", word) for word in words):  # a usage: [--rounds 2] [NAME...]
        words = [re.sub(r"^\[(?=-|[A-Z])|(?<=[\w.])\]$", "", word) for word in words]
    words = [cleaned for word in words if (cleaned := re.sub(r"\.\.\.$|^\$\{\w+:-\}$", "", word))]
    words = words[1:] if words[:1] == ["export"] else words
    while words and (setting := re.fullmatch(r"([A-Za-z_]+)=.*", words[0], re.DOTALL)):
        check_variable(setting[1])
        words = words[1:]
    if len(words) < 2:
        return []
    first, second, *rest = words
    if re.fullmatch(r"(\S*/)?python3?", first):
        if second == "-m" and rest and re.fullmatch(OURS, rest[0]):
            return check_program(rest[0], rest[1:])
        if re.match(r"(benchmarks|tests|models|bench)/", second):
            return check_program(second.removesuffix(".py").replace("/", "."), rest)
    elif first == "bash":
        return check(rest[0]) if second == "-c" and rest else check_script(second, rest)
    return []


@functools.cache
def sources() -> str:
    """All code in which a variable of the environment may be read."""
    suffixes = {".py", ".sh", ".env", ".yaml", ".sbatch", ""}
    files = [p for f in ("models", "bench", "run_scripts", "docker") for p in (ROOT / f).rglob("*")]
    files += [ROOT / "Dockerfile", ROOT / "env.sh", *ROOT.glob("tests/*/*.sh"), *ROOT.glob("tests/fake_mlu/**/*.*")]
    return "\n".join(p.read_text(encoding="utf8") for p in files if p.is_file() and p.suffix in suffixes)


OTHERS_VARIABLES = {"PIP_EXTRA_INDEX_URL", "CUDA_VISIBLE_DEVICES", "MLU_VISIBLE_DEVICES", "GLIBC_TUNABLES", "PATH"}


def check_variable(name: str) -> None:
    if name.isupper() and len(name) > 2 and name not in OTHERS_VARIABLES and not re.search(rf"\b{name}\b", sources()):
        raise CommandError(f"{name}: no code reads such a variable")


def check_script(path: str, words: list[str]) -> list[str]:
    folder, _, name = path.rpartition("/")
    if PLACEHOLDER.search(folder) or not folder:
        return []  # another system's
    if folder == "run_scripts" and (name.startswith("CRNN") or not (ROOT / path).exists()):
        return check_run(name.removesuffix(".sh"), words)  # or may be copied under that name, if it is one
    if not (ROOT / path).exists():
        raise CommandError(f"bash {path}: no such script")
    return SCRIPTS.get(path, lambda _: [])(words)


def check_docker(words: list[str]) -> list[str]:
    words = [word for word in words if word != "--privileged"]
    if not words or PLACEHOLDER.fullmatch(words[0].strip("[]")):
        return []
    return check_command(words) if words[0] in ("bash", "python") else check_run(words[0], words[1:])


def check_image(words: list[str]) -> list[str]:
    if words and not re.fullmatch(r"(cpu|cuda|mlu)(\|\w+)*", words[0].strip("[]")):
        raise CommandError(f"docker/build.sh: no device {words[0]}")
    return []


def check_tests(words: list[str]) -> list[str]:
    for word in words:
        if word.startswith("tests/") and not (ROOT / word).exists():
            raise CommandError(f"run_scripts/test.sh: no {word}")
    return []


def check_wordless(words: list[str]) -> list[str]:
    if words:
        raise CommandError(f"this script takes no words: {words}")
    return []


SCRIPTS = {
    "run_scripts/compare.sh": lambda words: check_program("bench.compare", words),
    "run_scripts/run.sh": lambda words: check_run(words[0], words[1:]) if words else [],
    "run_scripts/test.sh": check_tests,
    "run_scripts/quickstart.sh": check_wordless,
    "run_scripts/setup.sh": check_wordless,
    "docker/build.sh": check_image,
    "docker/run_docker.sh": check_docker,
}


def check_run(name: str, words: list[str]) -> list[str]:
    try:
        task = RunName.parse(name).task
    except ValueError as error:
        raise CommandError(str(error)) from None
    return check_program("models.train" if task == "Train" else "models.test", words)


def check_program(program: str, words: list[str]) -> list[str]:
    """Raises CommandError if the program takes the words with no stand-in for their placeholders."""
    if program.endswith(".NAME"):
        return []
    if not words:
        find_program(program)  # the program is only named, without words that it may need
        return [program]
    if program == "models.launch":
        return check_run(words[0], words[1:])
    if program in ("bench.sweep", "bench.compare") and "--" in words:
        cut = words.index("--")
        check_program("models.train", words[cut + 1 :])
        words = words[:cut]
    for choice in choices(words):
        if rest := read_some(program, choice):
            check_program("models.train", rest)
    return [program]


def choices(words: list[str]) -> Iterator[list[str]]:
    """The words with each of memory|synthetic in turn."""
    for place, word in enumerate(words):
        if re.fullmatch(r"\w+(\|\w+)+", word):
            for one in word.split("|"):
                yield from choices([*words[:place], one, *words[place + 1 :]])
            return
    yield words


def read_some(program: str, words: list[str]) -> list[str]:
    """`read_options` with the first stand-in for placeholders that is taken. Raises CommandError if none is."""
    errors = []
    for stand_in in TRIES if PLACEHOLDER.search(" ".join(words)) else TRIES[:1]:
        filled = [PLACEHOLDER.sub(lambda found, text=stand_in: text.format(found[0]), word) for word in words]
        filled = without_configuration(filled)
        try:
            return read_options(program, tuple(filled))
        except CommandError as error:
            errors.append(error)
    raise errors[0]


def without_configuration(words: list[str]) -> list[str]:
    """Without `--config FILE` of a file that a run would have left: reading the words opens it."""
    place = words.index("--config") if "--config" in words else len(words)
    gone = place + 1 < len(words) and not (ROOT / words[place + 1]).exists()
    return words[:place] + words[place + 2 :] if gone else words


def find_program(program: str) -> None:
    path = ROOT.joinpath(*program.split(".")).with_suffix(".py")
    if not path.is_file() or 'if __name__ == "__main__":' not in path.read_text(encoding="utf8"):
        raise CommandError(f"{program}: no such program")


@functools.cache
def read_options(program: str, words: tuple[str, ...]) -> list[str]:
    """Read the words as the program does; gives those that it hands on to a run. Raises CommandError."""
    find_program(program)
    try:
        module = importlib.import_module(program)
    except ImportError as error:  # a peer that is not installed: the command cannot be tried here
        if error.name and error.name.partition(".")[0] in ("models", "bench", "benchmarks", "tests"):
            raise
        return []
    source = Path(module.__file__).read_text(encoding="utf8")
    if program.startswith(("tests.", "benchmarks.")) and not re.search(r"argparse|run_cases|COMMAND", source):
        return []  # it reads its words by hand, and would begin
    errors = io.StringIO()
    try:
        with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(io.StringIO()):
            return _stopped_after_reading(module, program, list(words))
    except SystemExit as ended:
        if ended.code:
            raise CommandError(f"{program} {shlex.join(words)}: {errors.getvalue().splitlines()[-1:]}") from None
    except ValueError as error:  # UserError is one
        raise CommandError(f"{program} {shlex.join(words)}: {error}") from None
    return []


def _stopped_after_reading(module, program: str, words: list[str]) -> list[str]:
    if command := getattr(module, "COMMAND", None):
        return command.parse_known(words)[1]
    inside = False

    def stopping(original):
        def parse(self, args=None, *rest, **named):
            nonlocal inside
            if inside:
                return original(self, args, *rest, **named)
            inside = True
            try:
                found = original(self, args, *rest, **named)
            finally:
                inside = False
            raise _Parsed(list(found[1]) if isinstance(found, tuple) else [])

        return parse

    with contextlib.ExitStack() as patches:
        for kind in (argparse.ArgumentParser, jsonargparse.ArgumentParser):
            for method in ("parse_args", "parse_known_args"):
                if method in vars(kind):
                    patches.enter_context(mock.patch.object(kind, method, stopping(vars(kind)[method])))
        try:
            run_main(program, words)
        except _Parsed as parsed:
            return parsed.rest
    return []


def run_main(program: str, words: list[str]) -> None:
    with warnings.catch_warnings(), mock.patch.object(sys, "argv", [program, *words]):
        warnings.filterwarnings("ignore", ".*found in sys.modules", RuntimeWarning)
        runpy.run_module(program, run_name="__main__", alter_sys=True)


@functools.cache
def help_text(program: str) -> str:
    """What `python -m PROGRAM --help` prints."""
    said = io.StringIO()
    with (
        contextlib.redirect_stdout(said),
        contextlib.suppress(SystemExit),
        mock.patch.dict("os.environ", {"COLUMNS": "300"}),  # no line is folded
    ):
        run_main(program, ["--help"])
    return said.getvalue()


@functools.cache
def option_names(program: str) -> frozenset[str]:
    return frozenset(name.replace("_", "-") for name in re.findall(r"--([a-z][\w.-]*)", help_text(program)))


def check_options(words: str, programs: list[str], others: frozenset[str] = frozenset()) -> None:
    """Raises CommandError unless one program has all these options and takes their values."""
    listed = shlex.split(words)
    names = {re.match(r"--([\w.-]+)", word)[1].replace("_", "-") for word in listed if re.match(r"--\w", word)}
    names = {name for name in names if not name.endswith(".")}  # --limits.*: a group
    if not names or names & others:
        return
    owners = [program for program in programs if names <= option_names(program)]
    if not owners:
        raise CommandError(f"{words}: no program has these options")
    reasons = []
    for program in owners:
        try:
            check_program(program, [word for word in listed if word != "..."])
            return
        except CommandError as error:
            if re.search(r"required|expected (one|at least)|wants? |needs? ", str(error)):
                return  # its name alone, or a program whose other words are left out here
            reasons.append(str(error))
    raise CommandError(reasons[0])
