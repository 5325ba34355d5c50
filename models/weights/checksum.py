"""A digest of what weights are, and a SHA-256 inside every file of them that this project writes, over its other bytes.

A checkpoint is a ZIP archive (torch.save), whose last field is a comment: the checksum is that comment, and torch and
unzip read the file as before. A .safetensors file has it in its metadata, at a place of fixed length, which counts as
zeros in the sum. A file of an older release, or of another project, has none.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Mapping
from pathlib import Path

import torch

MARK = b"crnn-bench sha256 "
HEX = 64
IN_COMMENT = re.compile(re.escape(MARK) + rb"([0-9a-f]{64})\Z")
IN_METADATA = re.compile(rb'\\"sha256\\": \\"([0-9a-f]{64})\\"')
UNKNOWN = "0" * HEX  # what the metadata of a .safetensors file say until the sum is known
HEADER_BYTES = 1 << 24  # in which the metadata are looked for


class ChecksumError(ValueError):
    """A file is not what was written."""


def digest_weights(state: Mapping[str, torch.Tensor]) -> str:
    """sha256 over names, shapes and values (as float32): the same whatever file, format or type they are kept in."""
    digest = hashlib.sha256()
    for name, tensor in sorted(state.items()):
        values = tensor.detach().cpu()
        values = values.float() if values.is_floating_point() else values.long()
        digest.update(f"{name} {tuple(tensor.shape)} ".encode())
        digest.update(values.contiguous().numpy().tobytes())
    return digest.hexdigest()


def append_checksum(archive: io.BytesIO) -> None:
    """Put the checksum of a ZIP archive without a comment into its comment."""
    archive.seek(-2, io.SEEK_END)  # the length of the comment
    archive.write((len(MARK) + HEX).to_bytes(2, "little") + MARK)
    archive.write(hashlib.sha256(archive.getbuffer()).hexdigest().encode())


def fill_checksum(content: bytes) -> bytes:
    """A .safetensors file whose metadata say UNKNOWN, with its checksum in place of that."""
    found = IN_METADATA.search(content, 0, HEADER_BYTES)
    if found is None:
        raise ValueError("the metadata have no place for a checksum")
    total = hashlib.sha256(content).hexdigest().encode()
    return content[: found.start(1)] + total + content[found.end(1) :]


def has_valid_checksum(path: Path) -> bool:
    """Whether a file carries a checksum. Raises ChecksumError when it is not that of its bytes."""
    content = path.read_bytes()
    if path.suffix == ".safetensors":
        found = IN_METADATA.search(content, 0, HEADER_BYTES)
        rest: list[bytes | memoryview] = (
            [] if found is None else [content[: found.start(1)], UNKNOWN.encode(), content[found.end(1) :]]
        )
    else:
        found = IN_COMMENT.search(content, max(0, len(content) - HEX - len(MARK)))
        rest = [memoryview(content)[:-HEX]]
    if found is None:
        return False
    total = hashlib.sha256()
    for part in rest:
        total.update(part)
    if total.hexdigest().encode() != found[1]:
        raise ChecksumError(f"damaged: its bytes do not have the SHA-256 that it carries, {found[1].decode()[:12]}...")
    return True


def not_finite(state: Mapping[str, object]) -> str | None:
    """The first weights that are not finite, in words; None: all are.

    One that says to be larger than its bytes (a stride of 0) is left to whoever compares shapes: it may ask for all
    memory.
    """
    for name, value in state.items():
        if not isinstance(value, torch.Tensor) or value.is_sparse or value.is_quantized:
            continue
        if value.layout != torch.strided or value.numel() * value.element_size() > value.untyped_storage().nbytes():
            continue
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            count = int((~torch.isfinite(value)).sum())
            return f"{count:,} of the {value.numel():,} numbers of {name} are not finite"
    return None
