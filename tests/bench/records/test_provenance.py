"""Where a number comes from, inside an image that has no git."""

import pytest

from bench.records import provenance


@pytest.mark.parametrize(
    ("built", "commit", "dirty"),
    [("0123abc", "0123abc", False), ("0123abc-dirty", "0123abc", True), ("", None, None)],
)
def test_an_image_says_what_tree_it_was_made_from(built, commit, dirty, monkeypatch):
    monkeypatch.setattr(provenance, "git_output", lambda *words: None)
    monkeypatch.setenv("HARNESS_COMMIT", built)
    assert provenance.checkout_state() == {"commit": commit, "dirty": dirty}


def test_a_checkout_says_it_itself(monkeypatch):
    monkeypatch.setattr(
        provenance, "git_output", lambda *words: {"rev-parse": "c" * 40, "status": " M README.md"}[words[0]]
    )
    monkeypatch.setenv("HARNESS_COMMIT", "another")
    assert provenance.checkout_state() == {"commit": "c" * 40, "dirty": True}


def test_a_command_line_says_which_program_of_the_checkout_and_not_where_that_is():
    inside = [f"{provenance.ROOT}/models/train.py", "--out", "/x"]
    assert provenance.command(inside) == ["models/train.py", "--out", "/x"]
    assert provenance.command(["/usr/bin/pytest"]) == ["/usr/bin/pytest"]


def test_settings_that_change_numbers_are_kept_and_others_are_not():
    """All of the exchange libraries', and what overrides precision, memory and launches."""
    kept = {"NCCL_ALGO": "Ring", "CNCL_MLULINK_DISABLE": "1", "NVIDIA_TF32_OVERRIDE": "0", "CUDA_LAUNCH_BLOCKING": "1"}
    assert provenance.settings({**kept, "HOME": "/root", "MY_NCCL_ALGO": "Tree"}) == kept
