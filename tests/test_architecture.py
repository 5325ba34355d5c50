"""The rules of the house hold, and each is seen to fail where it is broken."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import ROOT, rules

RULES = [
    rules.programs_and_libraries,
    rules.visible_step,
    rules.instrument,
    rules.one_meaning,
    rules.one_truth,
    rules.checked_types,
    rules.small_functions,
    rules.no_circles,
    rules.imports_at_the_top,
    rules.no_test_imports_a_test,
]


@pytest.mark.parametrize("rule", RULES)
def test_the_house_keeps_its_rules(rule):
    assert rule(ROOT) == []


# A rule, the file that is changed, what is found in it ("" : the file is new, or longer by this), what is put there.
BREAKS = {
    "a library among the programs": (rules.programs_and_libraries, "models/helpers.py", "", "def helper(): ...\n"),
    "a program in a library": (
        rules.programs_and_libraries,
        "bench/records/seal.py",
        "",
        '\n\nif __name__ == "__main__":\n    print()\n',
    ),
    "a step that does not clip": (rules.visible_step, "models/train.py", "clip_", "trim_"),
    "a step elsewhere": (rules.visible_step, "models/train.py", "def train_step(", "def one_step("),
    "a loop that does more": (rules.visible_step, "models/train.py", "count_step()", "count_step(); print()"),
    "a test that hides its network": (rules.visible_step, "models/test.py", "def recognise(", "def perform("),
    "torch in a reader of records": (rules.instrument, "bench/report.py", "", "\n\ndef peak():\n    import torch\n"),
    "bench imports models": (rules.instrument, "bench/judging/policy.py", "", "\nfrom models import train\n"),
    "bench starts models": (rules.instrument, "bench/sweep.py", "", '\nWORDS = ["python", "-m", "models.train"]\n'),
    "bench starts models by a shell": (rules.instrument, "bench/gate.py", "", '\nX = "python -m models.test"\n'),
    "a name twice": (rules.one_meaning, "bench/report.py", "", "\n\ndef ctc_loss(): ...\n\n\nclass Charset: ...\n"),
    "a parser of one's own": (rules.one_truth, "models/data/store.py", "", "\nimport argparse\n"),
    "a writer of one's own": (rules.one_truth, "models/data/store.py", "", "\nimport os\nos.replace(1, 2)\n"),
    "a writer of one's own by Path": (rules.one_truth, "models/data/store.py", "", "\nX.replace(Y)\n"),
    "a digest in the code": (rules.one_truth, "models/data/store.py", "", f"\nDIGEST = '{'0af1' * 16}'\n"),
    "no mypy": (rules.checked_types, "run_scripts/test.sh", "mypy", "true"),
    "an error silenced": (rules.checked_types, "bench/gate.py", "", "\nX: int = ''  # type: ignore\n"),
    "a function of 41 lines": (rules.small_functions, "bench/gate.py", "", "\n\ndef f():\n" + "    print()\n" * 40),
    "a circle": (rules.no_circles, "models/data/charset.py", "", "\nfrom models.data import label_filter\n"),
    "a circle through a function": (
        rules.no_circles,
        "bench/errors.py",
        "",
        "\n\ndef f():\n    from bench import report\n",
    ),
    "an import inside a function": (
        rules.imports_at_the_top,
        "models/test.py",
        "",
        "\n\ndef f():\n    from models.data import image\n",
    ),
    "a test that imports a test": (
        rules.no_test_imports_a_test,
        "tests/docs/test_lock.py",
        "",
        "\nfrom tests.docs.test_help import LONG\n",
    ),
}


@pytest.fixture(scope="module")
def copy(tmp_path_factory) -> Path:
    """The checkout's code, to be broken."""
    folder = tmp_path_factory.mktemp("broken")
    for path in [p for f in ("models", "bench", "benchmarks", "tests") for p in (ROOT / f).rglob("*.py")] + [
        ROOT / "run_scripts/test.sh",
        ROOT / "pyproject.toml",
    ]:
        (folder / path.relative_to(ROOT)).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, folder / path.relative_to(ROOT))
    return folder


@pytest.mark.parametrize("name", BREAKS)
def test_a_broken_rule_is_seen(name, copy):
    rule, changed, before, after = BREAKS[name]
    path = copy / changed
    whole = path.read_text(encoding="utf8") if path.exists() else None
    assert before in (whole or ""), "what is to be broken is no longer there"
    known = rule(copy)
    path.write_text((whole or "").replace(before, after) if before else (whole or "") + after, encoding="utf8")
    try:
        assert set(rule(copy)) - set(known)
    finally:
        path.unlink() if whole is None else path.write_text(whole, encoding="utf8")


def test_lists_of_exceptions_name_what_exists():
    """A name that is listed as double and no longer is fails; so does an unlisted one, above."""
    assert "Charset is listed and is defined once" in rules.one_meaning(ROOT, {"Charset": "nothing"})


NETWORK = ["models.crnn", *(name for name in rules.modules(ROOT) if name.startswith("models.network"))]
DEVICES_AND_FILES = ("bench.machine", "models.dataset", "models.data", "models.run", "models.train", "models.test")
# What reads weights or options has no place in a network; the alphabet's size is a number by then.


def imports_of(name: str) -> set[str]:
    return {other for other, _ in rules.imported(rules.modules(ROOT)[name][1], set(rules.modules(ROOT)))}


@pytest.mark.parametrize("name", NETWORK)
def test_the_network_knows_no_files_and_no_devices(name):
    assert [other for other in imports_of(name) if rules.below(other, *DEVICES_AND_FILES)] == []


def test_data_knows_no_network():
    for name in rules.modules(ROOT):
        if rules.below(name, "models.dataset", "models.data"):
            assert not [o for o in imports_of(name) if rules.below(o, "models.crnn", "models.network", "models.run")], (
                name
            )


@pytest.mark.parametrize(
    "module", ["bench.records.record", "bench.report", "bench.verify", "bench.records.run_name", "bench.gate"]
)
def test_judging_needs_no_torch(module):
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
