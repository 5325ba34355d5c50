"""Signatures of records by ssh keys, which every engineer and every forge has. No torch here.

What is signed is the seal, the sha256 of the whole record, as text with a newline. The file beside the record,
RECORD.json.sig, is in ssh's own format: `ssh-keygen -Y verify -f KEYS -I NAME -n crnn-bench -s RECORD.json.sig` reads
it, too.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from bench.errors import UserError, one_line
from bench.files import write_file
from bench.records.record import Record, read_seal

NAMESPACE = "crnn-bench"  # a signature made for something else (a commit, an e-mail) is none of a record


def signature_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.sig")


def ssh_keygen(words: Sequence[str | Path], content: str) -> subprocess.CompletedProcess[str]:
    """Raises UserError where there is no ssh-keygen that signs (OpenSSH 8.1)."""
    try:
        return subprocess.run(["ssh-keygen", "-Y", *map(str, words)], input=content, capture_output=True, text=True)
    except FileNotFoundError:
        raise UserError("no ssh-keygen on this machine: install OpenSSH's client") from None


def sign_record(path: Path, key: Path) -> None:
    """Write the signature of a record's seal. Raises UserError with ssh's own words."""
    done = ssh_keygen(["sign", "-f", key, "-n", NAMESPACE], read_seal(path))
    if done.returncode or "BEGIN SSH SIGNATURE" not in done.stdout:
        raise UserError(f"{path}: not signed: {one_line(done.stderr.strip())}")
    write_file(signature_path(path), done.stdout)


def signer(path: Path, trusted: Path) -> str:
    """Who signed a record, of the principals in `trusted` (the format of ssh's allowed_signers).

    Raises UserError where nobody did, the seal is not the record's, or the signer is not among them.
    """
    if Record.load(path).altered:
        raise UserError("edited after it was written: its signature is of other content")
    seal, signature = read_seal(path), signature_path(path)
    if not signature.exists():
        raise UserError(f"not signed: there is no {signature.name}")
    if not trusted.exists():
        raise UserError(f"{trusted}: no such file; each line is NAME KEY, as in ssh's allowed_signers")
    found = ssh_keygen(["find-principals", "-s", signature, "-f", trusted], "")
    name = found.stdout.strip().splitlines()[0] if found.stdout.strip() else ""
    if found.returncode or not name:
        raise UserError("signed by a key that is not among the trusted ones")
    done = ssh_keygen(["verify", "-f", trusted, "-I", name, "-n", NAMESPACE, "-s", signature], seal)
    if done.returncode:
        raise UserError(f"its signature does not hold: {one_line((done.stderr or done.stdout).strip())}")
    return name
