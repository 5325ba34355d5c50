"""The example workflows: they parse, and what they run is taken by the program."""

from __future__ import annotations

import re
import shlex
import subprocess

import pytest
import yaml

from bench import compare, sweep
from bench.judging.ci import MARKER
from bench.judging.policy import tolerances
from bench.records.run_name import RunName
from tests.support import ROOT

WORKFLOWS = [ROOT / ".github" / "workflows" / "bench.yml", ROOT / "docs" / "ci" / "gitlab-ci.yml"]


def strings(tree) -> list[str]:
    if isinstance(tree, dict | list):
        return [text for part in (tree.values() if isinstance(tree, dict) else tree) for text in strings(part)]
    return [tree] if isinstance(tree, str) else []


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda p: p.name)
def test_what_a_workflow_runs_is_taken_by_the_program(path):
    content = yaml.safe_load(path.read_text(encoding="utf8"))
    [command] = [text for text in strings(content) if "compare.sh" in text]
    words = shlex.split(command.partition("||")[0].replace("\\\n", " "))
    assert words[:2] == ["bash", "run_scripts/compare.sh"]
    options, passed_on = compare.parse_comparison(words[2:])
    assert options.candidate == "."
    assert [str(RunName.parse(run)) for run in options.runs] == options.runs
    assert set(tolerances(options.metrics, options.margin)) == {"throughput", "memory", "accuracy"}
    assert passed_on == ["--batch-size", "16"]


@pytest.mark.parametrize("name", ["cards-github.yml", "cards-gitlab.yml"])
def test_cards_are_compared_in_the_images_that_were_built(name):
    text = (ROOT / "docs" / "ci" / name).read_text(encoding="utf8")
    assert re.findall(r"uses: \S+@(?![0-9a-f]{40} # v)", text) == []
    [command] = [part for part in strings(yaml.safe_load(text)) if "compare.sh" in part]
    assert "${{" not in command
    options, passed_on = compare.parse_comparison(shlex.split(command.partition("||")[0].replace("\\\n", " "))[2:])
    assert options.images and {options.base, options.candidate} == set(re.findall(r"IMAGE_NAME=(\S+)", text))
    assert options.runs == ["CRNN_FP32_500S_4MLUs_Train"]
    assert set(tolerances(options.metrics, options.margin)) == {"throughput", "memory"}
    assert passed_on == ["--batch-size", "64"]


def test_actions_are_pinned_and_no_input_of_a_stranger_becomes_shell():
    text = WORKFLOWS[0].read_text(encoding="utf8")
    assert re.findall(r"uses: \S+@(?![0-9a-f]{40} # v)", text) == []
    for run in re.findall(r"run: \|?(.*?)(?=\n      - |\Z)", text, re.DOTALL):
        assert "${{" not in run


@pytest.mark.parametrize("path", sorted((ROOT / ".github" / "workflows").glob("*.yml")), ids=lambda p: p.name)
def test_workflows_get_no_more_than_they_need(path):
    """Pinned actions; a token that may write is never in a job that runs the code of a pull request."""
    text = path.read_text(encoding="utf8")
    content = yaml.safe_load(text)
    assert re.findall(r"uses: \S+@(?![0-9a-f]{40} # v)", text) == []
    assert set((content["permissions"] or {}).values()) <= {"read"}
    for job in content["jobs"].values():
        checks_out = [step for step in job["steps"] if "checkout" in step.get("uses", "")]
        assert all(step["with"]["persist-credentials"] is False for step in checks_out)
        assert not checks_out or "write" not in job.get("permissions", {}).values()
        runs = " ".join(step.get("run", "") for step in job["steps"])
        assert "write" not in job.get("permissions", {}).values() or "run_scripts" not in runs


def test_a_comment_is_found_by_its_own_marker_and_forks_get_one():
    content = (ROOT / ".github" / "workflows" / "bench-comment.yml").read_text(encoding="utf8")
    gitlab = WORKFLOWS[1].read_text(encoding="utf8")
    assert MARKER in content
    assert MARKER in gitlab
    assert "workflow_run" in content
    assert "--edit-last" not in content


def test_the_comment_holds_the_verdict_and_the_table_of_main(tmp_path):
    """The step itself, with a `gh` that keeps what it is given: it makes a comment, then rewrites that one."""
    content = yaml.safe_load((ROOT / ".github" / "workflows" / "bench-comment.yml").read_text(encoding="utf8"))
    [script] = [step["run"] for step in content["jobs"]["comment"]["steps"] if "run" in step]
    (tmp_path / "gh").write_text(GH)
    (tmp_path / "gh").chmod(0o755)
    (tmp_path / "gate.md").write_text(f"{MARKER}\n### PASS\n")
    (tmp_path / "number").write_text("7\n")
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "HEAD": "a" * 40, "GH_REPO": "o/r"}

    def comment(**more) -> str:
        words = ["bash", "-e", "-o", "pipefail", "-c", script]
        subprocess.run(words, cwd=tmp_path, env={**environment, **more}, check=True)
        return (tmp_path / "said").read_text()

    first = comment()
    assert first.splitlines()[:3] == ["new", MARKER, "### PASS"]
    assert "| trend |" in first
    assert comment(KNOWN="11").startswith(f"issues/comments/11\n{MARKER}\n### PASS")
    assert "| trend |" not in comment(NO_TABLE="1")
    (tmp_path / "number").write_text("8; rm -rf /\n")
    with pytest.raises(subprocess.CalledProcessError):
        comment()


GH = """#!/bin/bash
case "$*" in
  *pulls/7*) printf '%s' "$HEAD" ;;
  *table.md*) [[ ! ${NO_TABLE:-} ]] && echo '| trend |' ;;
  *--paginate*) echo "${KNOWN:-}" ;;
  *PATCH*) { echo "${4#repos/o/r/}"; cat comment.md; } >said ;;
  "pr comment 7"*) { echo new; cat comment.md; } >said ;;
  *) exit 1 ;;
esac
"""


def test_the_history_runs_rows_that_are_run_names_and_keeps_simulated_ones_apart():
    script = (ROOT / ".ci" / "history").read_text(encoding="utf8")
    [pattern] = re.findall(r"for row in (\S+);", script)
    rows = [str(RunName.parse(name)) for name in sweep.expand_braces(pattern)]
    assert len(rows) == 4
    assert "CRNN_AMP_60S_2CPUs_Train" in rows
    assert '--results "$simulated"' in script
    assert subprocess.run(["bash", "-n", ROOT / ".ci" / "history"]).returncode == 0
