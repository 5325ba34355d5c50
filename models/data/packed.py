"""Packed images: decoded once, kept as uint8 rows in a memory-mapped file beside their texts.

A packed folder holds images.npy (N, C, H, W) uint8, widths.npy (N,) uint16, ends.npy (N,) uint64 (where each text ends
in texts.bin, UTF-8), and packed.json, which is written last. All of Synth90k at 32x100 grey takes about 29 GB.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from bench.files import write_file
from models.data.digest import sample_digest, sum_digest
from models.data.files import DataError, OpenFile, read_document, refuse_outside
from models.data.image import Shape
from models.data.rows import DecodedBatch, padded_width
from models.data.source import Source
from models.data.writer import WriterProgress, claim_folder, goes_on, release_folder

ABOUT, PROGRESS = "packed.json", "progress.json"
ROWS = {"images": "|u1", "widths": "<u2", "ends": "<u8"}  # file: numpy's name of its type
LARGEST_ROWS = 1 << 43  # bytes of a file of rows
HEADER = 128  # bytes before the rows of a .npy file, fixed so that it can be rewritten when the count is known


def is_packed(folder: Path) -> bool:
    return (folder / ABOUT).is_file()


class Packed(Source):
    """A packed folder to read: `images` and `words` give many samples at once."""

    shape: Shape

    def __init__(self, folder: Path):
        self.folder = Path(folder)
        try:
            about = json.loads(read_document(refuse_outside(self.folder, self.folder / ABOUT)))
            self._digest = str(about.get("digest", ""))
            self.shape, self.count = Shape(**about["shape"]), int(about["count"])
            self.name, self.is_sample = str(about["name"]), bool(about["sample"])
        except DataError:
            raise
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise DataError(f"{self.folder / ABOUT}: not what `prepare --packed` writes: {error}") from None
        if self.count < 1:
            raise DataError(
                f"{self.folder}: no samples in it: none of its source could be used; mend that and pack again"
            )
        self._mapped: dict[str, np.ndarray] | None = None
        self._files: dict[str, OpenFile] = {}
        self._identities: dict[str, tuple[int, int]] = {}
        self._map()

    def _map(self) -> dict[str, np.ndarray]:
        """The files, mapped once in each process. Raises DataError when one was cut short or written anew since."""
        if self._mapped is None:
            texts = self.folder / "texts.bin"
            names = {**{name: f"{name}.npy" for name in ROWS}, "texts": "texts.bin"}
            inside = {name: refuse_outside(self.folder, self.folder / file) for name, file in names.items()}
            self._files = {name: OpenFile(path, LARGEST_ROWS) for name, path in inside.items()}
            self._identities = self._identities or {name: file.identity for name, file in self._files.items()}
            mapped = {name: self._column(name) for name in ROWS}
            size = self._files["texts"].size
            if mapped["ends"][-1] != size:
                raise DataError(f"{texts}: not as long as ends.npy says; pack it again")
            if not 0 < mapped["widths"].min() <= mapped["widths"].max() <= self.shape.width:
                raise DataError(f"{self.folder}: widths.npy has widths that are not 1 to {self.shape.width} px")
            mapped["texts"] = np.frombuffer(self._files["texts"].mapped(), np.uint8)
            self._mapped = mapped
        for name, file in self._files.items():
            file.refuse_other_than(self._identities[name])
        return self._mapped

    def _column(self, name: str) -> np.ndarray:
        """One file of rows, mapped. Its header must be the one that packed.json implies."""
        file, shape = self._files[name], column_shape(name, self.count, self.shape)
        if os.pread(file.file.fileno(), HEADER, 0) != npy_header(ROWS[name], shape):
            raise DataError(f"{file.path}: its header is not for {shape} rows of {ROWS[name]}, as {ABOUT} says")
        try:
            return np.memmap(file.file, ROWS[name], "r", HEADER, shape)  # type: ignore[call-overload]  # any file object
        except (OSError, ValueError) as error:
            raise DataError(f"{file.path}: cut short: {error}") from None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_mapped": None, "_files": {}}

    def __len__(self) -> int:
        return self.count

    @property
    def images(self) -> np.ndarray:
        """All images, memory-mapped: (N, C, H, W) uint8."""
        return self._map()["images"]

    def widths(self, numbers: np.ndarray, shape: Shape) -> np.ndarray:
        widths: np.ndarray = self._map()["widths"][numbers]
        return widths

    def rows(self, numbers: np.ndarray, shape: Shape) -> DecodedBatch:
        """Gather rows that are decoded already."""
        widths, texts = self.words(numbers)
        images = self.images[numbers]
        if shape.keep_ratio:
            images = np.ascontiguousarray(images[..., : padded_width(widths, shape)])
        return DecodedBatch(images, widths, texts, numbers.tolist())

    def encoded(self, index: int) -> bytes:
        raise DataError(f"{self.folder}: packed images are no longer encoded")

    def content(self, index: int) -> bytes:
        pixels: bytes = self.images[index].tobytes()
        return pixels

    def size(self, index: int) -> tuple[int, int]:
        return self.shape.height, int(self._map()["widths"][index])

    def words(self, numbers: np.ndarray) -> tuple[np.ndarray, list[str]]:
        """Widths (n,) int32 and texts of these samples."""
        mapped = self._map()
        ends = mapped["ends"][numbers].astype(np.int64)
        before = np.where(numbers > 0, mapped["ends"][numbers - 1].astype(np.int64), 0)
        return mapped["widths"][numbers].astype(np.int32), self._texts(before, ends)

    def _texts(self, begins: np.ndarray, ends: np.ndarray) -> list[str]:
        """Texts by their places in texts.bin: gathered at once and cut in Python, which is cheap for plain ASCII."""
        lengths = ends - begins
        stops = np.cumsum(lengths)
        if lengths.min() < 0 or begins.min() < 0 or ends.max() > len(self._map()["texts"]):
            raise DataError(f"{self.folder}: ends.npy is broken; pack it again")
        places = np.arange(stops[-1]) + np.repeat(begins - stops + lengths, lengths)
        gathered = self._map()["texts"][places].tobytes()
        cuts = stops.tolist()
        if gathered.isascii():
            whole = gathered.decode("ascii")
            return [whole[a:b] for a, b in zip([0, *cuts], cuts, strict=False)]
        try:
            return [gathered[a:b].decode("utf-8") for a, b in zip([0, *cuts], cuts, strict=False)]
        except UnicodeDecodeError as error:
            raise DataError(f"{self.folder}: texts.bin is broken; pack it again: {error}") from None

    def texts(self, begin: int, end: int) -> list[str]:
        """Texts of samples begin to end."""
        ends = self._map()["ends"][max(0, begin - 1) : end].astype(np.int64)
        begins = np.concatenate([[0], ends])[: end - begin] if begin == 0 else ends[:-1]
        return self._texts(begins, ends[-(end - begin) :])

    def label(self, index: int) -> str:
        return self.words(np.array([index]))[1][0]

    def where(self, index: int) -> str:
        return f"{self.folder}: row {index + 1}"

    def manifest(self) -> str:
        """sha256 over the texts and where each ends."""
        digest = hashlib.sha256()
        for name in ("ends.npy", "texts.bin"):
            digest.update((self.folder / name).read_bytes())
        return digest.hexdigest()

    def stored(self, index: int) -> tuple[bytes, bytes]:
        """With its width, which is read from a file, too."""
        return self.content(index), stored_label(self.widths(np.array([index]), self.shape)[0], self.label(index))

    def content_digest(self) -> str:
        return self._digest


class PackedWriter:
    """A packed folder being written in chunks. Opening an unfinished one continues it; another as in LMDBWriter."""

    def __init__(self, folder: Path, source: str, shape: Shape, name: str, sample: bool, overwrite: bool = False):
        self.lock = claim_folder(folder)
        self.folder, self.shape, self.about = folder, shape, {"name": name, "sample": sample}
        self.row_bytes = {"images": shape.channels * shape.height * shape.width, "widths": 2, "ends": 8}
        self.progress = WriterProgress(source)
        if (folder / PROGRESS).is_file():
            self.progress = WriterProgress(**json.loads((folder / PROGRESS).read_text()))
        if not goes_on(folder, self.progress, source, overwrite):
            (folder / ABOUT).unlink(missing_ok=True)
            self.progress = WriterProgress(source)
        self.files = {name: (folder / f"{name}.npy").open("ab") for name in ROWS}
        self.files["texts"] = (folder / "texts.bin").open("ab")
        if not self.progress.finished:
            self._cut_to_progress()

    def _cut_to_progress(self) -> None:
        """Drop what a killed run wrote after its last note of progress."""
        for name, size in self.row_bytes.items():
            self.files[name].truncate(HEADER + self.progress.written * size)
        self.files["texts"].truncate(self.progress.text_bytes)

    def add(self, consumed: int, images: np.ndarray, widths: np.ndarray, texts: list[str], skipped: list[str]) -> None:
        """One chunk of the source: images (n, C, H, W), widths (n,), texts, and the reasons for those skipped."""
        encoded = [text.encode() for text in texts]
        ends = self.progress.text_bytes + np.cumsum([len(text) for text in encoded], dtype=np.uint64)
        columns = {"images": images, "widths": widths.astype("<u2"), "ends": ends.astype("<u8")}
        for name, rows in columns.items():
            self.files[name].write(np.ascontiguousarray(rows).tobytes())
        self.files["texts"].write(b"".join(encoded))
        self.progress.consumed += consumed
        self.progress.written += len(texts)
        self.progress.skipped += len(skipped)
        self.progress.text_bytes += sum(map(len, encoded))
        first = self.progress.written - len(texts)
        digests = (
            sample_digest(first + i, image.tobytes(), stored_label(width, text))
            for i, (image, width, text) in enumerate(zip(images, widths, texts, strict=True))
        )
        self.progress.digest = sum_digest(self.progress.digest, digests)
        self._note()

    def _note(self) -> None:
        for file in self.files.values():
            file.flush()
        write_json(self.folder / PROGRESS, asdict(self.progress))

    def finish(self) -> None:
        """Write the headers, now that the count is known, and the file that makes it a data set."""
        count = self.progress.written
        for name, kind in ROWS.items():
            with (self.folder / f"{name}.npy").open("r+b") as file:
                file.write(npy_header(kind, column_shape(name, count, self.shape)))
        self.progress.finished = True
        self._note()
        about = {**self.about, "count": count, "shape": asdict(self.shape), "digest": self.progress.digest}
        write_json(self.folder / ABOUT, about)

    def close(self) -> None:
        for file in self.files.values():
            file.close()
        release_folder(self.folder, self.lock, self.progress.finished)


def stored_label(width: int, text: str) -> bytes:
    return int(width).to_bytes(2, "little") + text.encode()


def column_shape(name: str, count: int, shape: Shape) -> tuple[int, ...]:
    return (count, shape.channels, shape.height, shape.width) if name == "images" else (count,)


def npy_header(kind: str, shape: tuple[int, ...]) -> bytes:
    """Version 1.0 header of a .npy file, HEADER bytes long (numpy.lib.format describes it)."""
    text = repr({"descr": kind, "fortran_order": False, "shape": shape}).ljust(HEADER - 11) + "\n"
    return b"\x93NUMPY\x01\x00" + (HEADER - 10).to_bytes(2, "little") + text.encode()


def write_json(path: Path, content: dict[str, Any]) -> None:
    write_file(path, json.dumps(content, indent=2) + "\n")
