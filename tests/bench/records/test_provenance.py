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


def test_every_variable_that_can_change_arithmetic_is_kept_and_paths_and_logs_are_not():
    kept = {
        "ONEDNN_DEFAULT_FPMATH_MODE": "BF16", "DNNL_MAX_CPU_ISA": "AVX2", "NVIDIA_TF32_OVERRIDE": "1",
        "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE": "1", "CUBLAS_WORKSPACE_CONFIG": ":4096:8", "CUDNN_V8_API": "1",
        "NCCL_ALGO": "Ring", "CNNL_TF32": "1", "CNCL_ALGO": "x", "PYTORCH_CUDA_ALLOC_CONF": "a",
        "PYTORCH_MLU_ALLOC_CONF": "a", "LD_PRELOAD": "libjemalloc.so", "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    others = {"NCCL_DEBUG": "INFO", "CUDA_HOME": "/usr", "PATH": "/bin", "PYTORCH_TRAIN_DATASET": "/data", "HOME": "/"}
    assert provenance.arithmetic_variables(kept | others) == kept
