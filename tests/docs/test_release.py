"""What a release and its readers need: one version everywhere, forms that ask for evidence, names of the model zoo."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.support import ROOT

FORMS = sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml"))


def test_the_newest_version_is_one():
    newest = re.search(r"^## (\d+\.\d+\.\d+) \((\d{4}-\d\d-\d\d)\)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert (cited["version"], cited["date-released"]) == newest.groups()
    assert f'VERSION = "{newest[1]}"' in (ROOT / "models/serving/app.py").read_text()


@pytest.mark.parametrize(
    ("schema", "path"),
    [
        ("vendor.citation-file-format", ROOT / "CITATION.cff"),
        ("vendor.github-workflows", ROOT / ".github" / "workflows" / "release.yml"),
        *(
            ("vendor.github-issue-config" if path.stem == "config" else "vendor.github-issue-forms", path)
            for path in FORMS
        ),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_files_fit_their_schemas(schema, path):
    checker = Path(sys.executable).parent / "check-jsonschema"
    done = subprocess.run([str(checker), "--builtin-schema", schema, str(path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_who_reports_is_asked_for_the_machine_and_the_record():
    for name in ("bug.yml", "number.yml"):
        text = (ROOT / ".github" / "ISSUE_TEMPLATE" / name).read_text()
        for wanted in ("bench.device", "cnmon", "nvidia-smi", "results/runs"):
            assert wanted in text, f"{name}: {wanted}"


def test_the_requirements_of_the_model_zoos_page_are_ours():
    lines = [line for line in (ROOT / "models" / "requirements.txt").read_text().splitlines() if line[:1] != "#"]
    assert lines == ["-r ../requirements.txt"]


def test_what_was_in_util_py_says_where_it_is():
    with pytest.raises(ImportError, match=r"for strLabelConverter see models.data.charset.Charset"):
        from models.util import strLabelConverter  # noqa: F401
    with pytest.raises(ImportError, match="listed in README"):
        from models.util import something_else  # noqa: F401
