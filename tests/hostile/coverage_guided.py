"""Coverage-guided inputs for one reader: `python -m tests.hostile.coverage_guided READER SECONDS FOLDER`.

atheris (libFuzzer) alters what a reader takes wherever that reaches a line that was not reached before. Whatever is
raised but a refusal, an input that takes 10 s, or 3 GB of memory ends it with what was sent in FOLDER.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["PIL", "models", "bench", "starlette", "python_multipart"]):
    from bench.errors import UserError
    from bench.records.checks import validation_errors
    from bench.records.record import Record
    from models.data.image import Shape, decode, image_size, load_image
    from models.data.opening import open_source
    from models.serving.decoding import Decode, decode_request

from tests.support import records
from tests.support.images import encoded, noise
from tests.support.mutated import originals

FORM = "multipart/form-data; boundary=x"
HOW = Decode(Shape(), widths=True, views=True, most_pixels=4_000_000, most_images=64)


def image(content: bytes, folder: Path) -> None:
    for read in (lambda: load_image(content, 1, 4_000_000), lambda: decode(content, 3), lambda: image_size(content)):
        if not content:
            return
        try:
            read()
        except UserError as refusal:
            assert str(refusal).isprintable(), str(refusal)


def listing(content: bytes, folder: Path) -> None:
    (folder / "labels.txt").write_bytes(content)
    source = open_source(folder, "train")
    for index in range(min(len(source), 20)):
        try:
            source.label(index)
            source.encoded(index)
        except UserError:
            continue


def form(content: bytes, folder: Path) -> None:
    decode_request(FORM, content, HOW, 60, True)


def body(content: bytes, folder: Path) -> None:
    decode_request("application/json", content, HOW, 60, True)


def record(content: bytes, folder: Path) -> None:
    path = folder / "record.json"
    path.write_bytes(content)
    validation_errors(Record.load(path))


def record_bytes() -> bytes:
    return json.dumps(records.make_record().body()).encode()


READERS: dict[str, tuple[Callable[[bytes, Path], None], Callable[[], list[bytes]]]] = {
    "image": (image, originals),
    "listing": (listing, lambda: [b"a.png\tword\nb.png\tother\n", b"a.png word\n", b"filename,text\na.png,w\n",
                                  b'{"filename": "a.png", "text": "w"}\n' * 2, b"a.png 1 2 3\n"]),
    "form": (form, lambda: [b'--x\r\nContent-Disposition: form-data; name="a"; filename="a.png"\r\n\r\n'
                            + encoded(noise(8, 8)) + b"\r\n--x--\r\n"]),
    "body": (body, lambda: [b'{"images": ["aGVsbG8=", "data:image/png;base64,aGk"]}', b'{"images": []}']),
    "record": (record, lambda: [record_bytes()]),
}  # fmt: skip


def main(reader: str, seconds: str, place: str) -> None:
    read, seeds = READERS[reader]
    folder, corpus = Path(place), Path(place) / "corpus"
    corpus.mkdir(parents=True)
    for number, content in enumerate(seeds()):
        (corpus / str(number)).write_bytes(content)
    work = folder / "work"
    work.mkdir()

    def once(content: bytes) -> None:
        try:
            read(content, work)
        except UserError as refusal:
            assert str(refusal)

    options = [f"-max_total_time={seconds}", "-timeout=10", "-rss_limit_mb=3000", "-max_len=20000",
               f"-artifact_prefix={folder}/", "-print_final_stats=1"]  # fmt: skip
    atheris.Setup([sys.argv[0], str(corpus), *options], once)
    atheris.Fuzz()


if __name__ == "__main__":
    main(*sys.argv[1:4])
