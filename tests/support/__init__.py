"""What tests share. No test imports a test: a helper that two of them need stands here."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
