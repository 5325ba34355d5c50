"""The lock holds what the requirements ask for, each with its hashes, and nothing that depends on the machine."""

from __future__ import annotations

import re

import pytest

from tests.support import ROOT

PINNED = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^\s;\\]+)", re.MULTILINE)
LOCKS = {
    "requirements.lock": ["requirements.txt"],
    "requirements-dev.lock": ["requirements.txt", "requirements-dev.txt"],
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
    assert len(packages) > 40
    assert [p.split()[0] for p in packages if not re.search(r"--hash=sha256:[0-9a-f]{64}\b", p)] == []
    assert re.findall(r"https?:|file:|--index|--find-links|@ ", text) == []


@pytest.mark.parametrize("lock", LOCKS)
def test_the_machine_brings_its_own_torch(lock):
    assert {"torch", "torchvision"} & {name for name, _ in pins(lock)} == set()


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
        newer = set(re.findall(r'^(\S+)==\S+; python_version >= "3.11"', text, re.MULTILINE))
        assert newer == set(re.findall(r'^(\S+)==\S+; python_version < "3.11"', text, re.MULTILINE))


def test_the_whole_lock_is_compared_with_published_holes():
    text = (ROOT / ".github" / "workflows" / "test.yml").read_text(encoding="utf8")
    [audit] = [line for line in text.splitlines() if "pip_audit" in line]
    assert "--strict" in audit and "--require-hashes" in audit
    assert pins(audit.split()[-1]) >= pins("requirements.lock")
