"""Where a number comes from: commit, image, versions, host. Collected, never typed. No torch here."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import sys
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("torch", "torchvision", "torch_mlu", "numpy", "lmdb", "simplejpeg", "pillow", "pandas")
VARIABLES = (  # settings that change numbers
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "KMP_AFFINITY",
    "MALLOC_CONF",
    "LD_PRELOAD",
    "CUDA_VISIBLE_DEVICES",
    "MLU_VISIBLE_DEVICES",
    "ENABLE_FALLBACK_TO_CPU",
)


def git(*arguments: str) -> str | None:
    """Output of a git command in this checkout, or None where there is no git or no checkout."""
    try:
        done = subprocess.run(
            ["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def commit() -> dict:
    """The commit and whether the tree differs from it. An image carries its commit in HARNESS_COMMIT."""
    changes = git("status", "--porcelain")
    return {
        "commit": git("rev-parse", "HEAD") or os.environ.get("HARNESS_COMMIT") or None,
        "dirty": bool(changes) if changes is not None else None,
    }


def collect() -> dict:
    memory = psutil.virtual_memory()
    return {
        **commit(),
        "argv": sys.argv,
        "image_digest": os.environ.get("IMAGE_DIGEST") or None,
        "image_name": os.environ.get("IMAGE_NAME") or None,
        "in_container": Path("/.dockerenv").exists() or Path("/run/.containerenv").exists(),
        "python": platform.python_version(),
        "os": platform.platform(),
        "host": platform.node(),
        "cpu_cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_bytes": memory.total,
        "versions": {package: version(package) for package in PACKAGES},
        "environment": {name: os.environ[name] for name in VARIABLES if name in os.environ},
    }
