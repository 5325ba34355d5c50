"""Where a number comes from: commit, image, versions, host. Collected, never typed. No torch here."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

from bench.files import ROOT
from bench.records.sections import Provenance

PACKAGES = ("torch", "torchvision", "torch_mlu", "numpy", "lmdb", "simplejpeg", "pillow", "pandas")
# Variables that can change arithmetic, libraries or pace, by the beginnings of their names; those that only say where
# to write or how much to print are left out.
VARIABLES = (
    "OMP_", "KMP_", "GOMP_", "MKL_", "OPENBLAS_", "ONEDNN_", "DNNL_", "MALLOC_", "GLIBC_TUNABLES", "LD_PRELOAD",
    "CUDA_", "CUBLAS", "CUDNN", "NVIDIA_TF32_OVERRIDE", "NCCL_", "TORCH_", "TORCHINDUCTOR_",
    "PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_ALLOC_CONF", "PYTORCH_MLU_ALLOC_CONF", "PYTORCH_NO_CUDA_MEMORY_CACHING",
    "MLU_", "CN_", "CNNL", "CNCL", "CNRT", "ENABLE_FALLBACK_TO_CPU",
)  # fmt: skip
NOT_VARIABLES = re.compile(r"_(DEBUG|VERBOSE|LOG|LOGS|FILE|PATH|HOME|DIR|CACHE_DIR|EXTENSIONS_DIR|LEVEL)$")


def git_output(*arguments: str) -> str | None:
    """Output of a git command in this checkout, or None where there is no git or no checkout."""
    try:
        done = subprocess.run(
            ["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def package_version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def checkout_state() -> Provenance:
    """The commit and whether the tree differs from it. An image carries both in HARNESS_COMMIT (docker/build.sh)."""
    changes = git_output("status", "--porcelain")
    if changes is not None:
        return {"commit": git_output("rev-parse", "HEAD") or None, "dirty": bool(changes)}
    built = os.environ.get("HARNESS_COMMIT") or None
    return {"commit": built and built.removesuffix("-dirty"), "dirty": built.endswith("-dirty") if built else None}


def diff_sha256() -> str | None:
    """Of what tracked files have more than the commit, so that two dirty trees can be told apart; None when clean."""
    difference = git_output("diff", "HEAD")
    return hashlib.sha256(difference.encode()).hexdigest() if difference else None


def is_simulated(versions: Mapping[str, str | None]) -> bool:
    """Whether a device's libraries call themselves a stand-in, by the local part of their version (PEP 440)."""
    local = [(version or "").partition("+")[2] for version in versions.values()]
    return any(re.search(r"fake|simulat|emulat|mock|stub", part) for part in local)


def command(argv: Sequence[str]) -> list[str]:
    """The command line, its program by its place in the checkout: where the checkout lies is the host's business."""
    program = Path(argv[0])
    return [str(program.relative_to(ROOT) if program.is_relative_to(ROOT) else program), *argv[1:]]


def collect() -> Provenance:
    memory = psutil.virtual_memory()
    return {
        **checkout_state(),
        "diff_sha256": diff_sha256(),
        "argv": command(sys.argv),
        "image_digest": os.environ.get("IMAGE_DIGEST") or None,
        "image_name": os.environ.get("IMAGE_NAME") or None,
        "base_image": os.environ.get("HARNESS_BASE_IMAGE") or None,
        "in_container": Path("/.dockerenv").exists() or Path("/run/.containerenv").exists(),
        "python": platform.python_version(),
        "os": platform.platform(),
        "host": platform.node(),
        "cpu": cpu_name(),
        "cpu_cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_bytes": memory.total,
        "versions": {package: package_version(package) for package in PACKAGES},
        "environment": arithmetic_variables(os.environ),
    }


def arithmetic_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """Those of an environment that can change a number."""
    return {
        name: value
        for name, value in sorted(environment.items())
        if name.startswith(VARIABLES) and not NOT_VARIABLES.search(name)
    }


def cpu_name() -> str:
    """The processor's model name; /proc/cpuinfo knows it where `platform` says only the architecture."""
    try:
        with open("/proc/cpuinfo", encoding="utf8") as lines:  # noqa: PTH123
            names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
            return next(names, platform.processor() or platform.machine())
    except OSError:
        return platform.processor() or platform.machine()
