"""The programs of both rooms."""

from __future__ import annotations

from tests.support import ROOT


def programs() -> list[str]:
    """Every module of models and bench that can be run."""
    files = [path for folder in ("models", "bench") for path in sorted((ROOT / folder).glob("*.py"))]
    return [f"{path.parent.name}.{path.stem}" for path in files if '\nif __name__ == "__main__":' in path.read_text()]
