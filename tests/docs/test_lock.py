"""The lock holds what the requirements ask for, each with its hashes, and nothing that depends on the machine."""

from __future__ import annotations

import re

import pytest

from tests.support import ROOT

PINNED = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^\s;\\]+)", re.MULTILINE)
LOCKS = {
    "requirements.lock": ["requirements.txt"],
    "requirements-serve.lock": ["requirements-serve.txt"],
    "requirements-render.lock": ["requirements-render.txt"],
    "requirements-torch.lock": [],
    "requirements-dev.lock": [
        *("requirements.txt", "requirements-serve.txt", "requirements-render.txt", "requirements-dev.txt")
    ],
}


def pins(*names: str) -> set[tuple[str, str]]:
    text = "\n".join((ROOT / name).read_text(encoding="utf8") for name in names)
    return {(name.lower().replace("_", "-").replace(".", "-"), version) for name, version in PINNED.findall(text)}


@pytest.mark.parametrize("lock", LOCKS)
def test_the_lock_holds_what_is_asked_for(lock):
    assert pins(*LOCKS[lock]) <= pins(lock), "run .ci/lock"


@pytest.mark.parametrize("lock", LOCKS)
def test_every_package_has_hashes_and_no_line_names_a_host(lock):
    text = (ROOT / lock).read_text(encoding="utf8")
    packages = re.split(r"\n(?=[a-zA-Z0-9])", text.partition("\n")[2])
    assert len(packages) > 10
    assert [p.split()[0] for p in packages if not re.search(r"--hash=sha256:[0-9a-f]{64}\b", p)] == []
    assert re.findall(r"https?:|file:|--index|--find-links|@ ", text) == []


@pytest.mark.parametrize("lock", LOCKS)
def test_the_machine_brings_its_own_torch(lock):
    assert {"torch", "torchvision"} & {name for name, _ in pins(lock)} == set()


def test_locks_agree():
    """What is installed from several of them is one environment, the one that CI tests."""
    whole = pins("requirements-dev.lock")
    assert {name: pins(name) - whole for name in LOCKS if name != "requirements-torch.lock"} == {
        name: set() for name in LOCKS if name != "requirements-torch.lock"
    }
    asked = {name for name, _ in pins("requirements-torch.lock")}
    assert {"filelock", "fsspec", "networkx", "sympy", "mpmath", "setuptools"} <= asked


def test_an_image_of_a_card_has_neither_fonts_nor_a_web_server():
    lean = {name for name, _ in pins("requirements.lock")}
    assert [name for name in lean if name.startswith(("font-", "ttf-", "fastapi", "starlette", "uvicorn"))] == []
    assert "ARG EXTRAS=\n" in (ROOT / "Dockerfile").read_text(encoding="utf8")


def test_every_dependency_has_its_line():
    """What for, who keeps it, what it weighs, why not its neighbour."""
    rows = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf8").splitlines()
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows if row.startswith("| ")]
    told = {name.strip("` ").lower() for row in cells for name in row[0].split(",")}
    asked = {name for path in ROOT.glob("requirements*.txt") for name, _ in pins(path.name)} | {"numpy"}
    assert {name.lower().replace("_", "-") for name in asked} - told == set()
    assert [row for row in cells if len(row) != 5 or not all(row)] == []


def test_requirements_are_pinned_but_for_numpy():
    for path in ROOT.glob("requirements*.txt"):
        asked = [line for line in path.read_text(encoding="utf8").splitlines() if line and line[0] not in "#-"]
        assert [line for line in asked if not PINNED.match(line)] == (
            ["numpy>=1.26"] if path.stem == "requirements" else []
        )


def test_what_python_3_10_needs_is_there():
    """A pin that is for newer Pythons alone has a twin for 3.10, which vendors' images bring."""
    for path in ROOT.glob("requirements*.txt"):
        text = path.read_text(encoding="utf8")
        newer = set(re.findall(r'^(\S+)==\S+; python_version [>=]= "3.11"', text, re.MULTILINE))
        assert newer == set(re.findall(r'^(\S+)==\S+; python_version < "3.11"', text, re.MULTILINE))


def test_the_whole_lock_is_compared_with_published_holes():
    text = (ROOT / ".github" / "workflows" / "test.yml").read_text(encoding="utf8")
    [audit] = [line for line in text.splitlines() if "pip_audit" in line]
    assert "--strict" in audit and "--require-hashes" in audit
    assert pins(audit.split()[-1]) >= pins("requirements.lock")
