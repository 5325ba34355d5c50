"""Files of a data set and of a results folder, by strangers: regular, bounded, inside, the same while they are read."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import lmdb
import numpy as np
import pytest

from models import prepare
from models.data.charset import Charset
from models.data.files import DataError, Lines
from models.data.image import Shape
from models.data.opening import open_source
from models.data.packed import PackedWriter
from models.data.writer import LMDBWriter
from tests.support import ROOT
from tests.support.images import encoded, grey

IN_TIME_S = 60


@pytest.fixture
def listed(tmp_path) -> Path:
    """2,000 lines of one image."""
    folder = tmp_path / "listed"
    folder.mkdir()
    (folder / "p.png").write_bytes(encoded(grey()[:, :, 0]))
    (folder / "labels.tsv").write_text("".join(f"p.png\tword{n}\n" for n in range(2000)))
    return folder


def prepared(source: Path, out: Path, *options: str) -> Path:
    prepare.main(["--source", str(source), "--out", str(out), "--workers", "1", *options])
    return out


@pytest.fixture
def small(tmp_path) -> Path:
    """A list of six different images."""
    folder = tmp_path / "small"
    folder.mkdir()
    for n in range(6):
        (folder / f"{n}.png").write_bytes(encoded(grey(seed=n)[:, :, 0]))
    (folder / "labels.tsv").write_text("".join(f"{n}.png\tword{n}\n" for n in range(6)))
    return folder


def run(code: str, folder: Path) -> subprocess.CompletedProcess:
    """A bus error would end these tests, too."""
    return subprocess.run([sys.executable, "-c", code], cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)},
                          capture_output=True, text=True, timeout=IN_TIME_S)  # fmt: skip


READ = """
import os
from models.data.opening import open_source
from models.data.files import DataError
source = open_source({path!r}, "train")
source.label(1)
{change}
try:
    print("read", source.label({index}))
except DataError as error:
    print(error)
"""
CHANGES = {
    "cut short": ("os.truncate('labels.tsv', 100)", "labels.tsv: was cut short while it is in use"),
    "written anew": ("t = open('labels.tsv').read(); open('labels.tsv', 'w').write('p.png\\tshifted\\n' + t)",
                     "labels.tsv: was written anew while it is in use"),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
def test_a_list_that_changes_under_a_run_is_named(name, listed):
    change, reason = CHANGES[name]
    done = run(READ.format(path=".", change=change, index=1500), listed)
    assert done.returncode == 0 and reason in done.stdout, done.stdout + done.stderr


@pytest.mark.parametrize("file", ["images.npy", "ends.npy", "texts.bin"])
def test_packed_rows_that_are_cut_under_a_run_are_named(file, small, tmp_path):
    out = prepared(small, tmp_path / "packed", "--packed")
    change = f"os.truncate({str(out / 'train' / file)!r}, 10)"
    done = run(READ.format(path=str(out), change=change, index=5), tmp_path)
    assert done.returncode == 0 and f"{file}: was cut short" in done.stdout, done.stdout + done.stderr


def test_a_worker_reads_the_list_that_its_parent_opened(listed):
    lines = Lines(listed / "labels.tsv")
    again = pickle.loads(pickle.dumps(lines))
    assert again[7] == lines[7] == b"p.png\tword7"
    (listed / "labels.tsv").write_text("other\n" * 3000)
    with pytest.raises(DataError, match="while it is in use"):
        pickle.loads(pickle.dumps(lines))[7]


WAITING = {
    "list": lambda folder: os.mkfifo(folder / "labels.tsv"),
    "JSON": lambda folder: os.mkfifo(folder / "labels.json"),
    "annotations": lambda folder: [os.mkfifo(folder / name) for name in ("annotation_train.txt", "lexicon.txt")],
    "zero": lambda folder: (folder / "labels.tsv").symlink_to("/dev/zero"),
    "description": lambda folder: (lmdb_in(folder), os.mkfifo(folder / "dataset.json")),
}


def lmdb_in(folder: Path) -> None:
    writer = LMDBWriter(folder, "x")
    writer.add(1, [(encoded(grey()[:, :, 0]), "a")], [])
    writer.finish()
    writer.close()


@pytest.mark.parametrize("name", WAITING)
def test_what_is_no_regular_file_is_not_waited_for(name, tmp_path):
    WAITING[name](tmp_path)
    code = f"""
from models.data.opening import open_source
from models.data.files import DataError
try:
    print(len(open_source({str(tmp_path)!r}, "train")))
except DataError as error:
    print("refused", error)
"""
    done = run(code, tmp_path)
    assert done.returncode == 0 and (done.stdout.startswith("refused") or name == "description"), done


@pytest.mark.parametrize("name", ["labels.tsv", "labels.json", "annotation_train.txt", "lexicon.txt"])
def test_a_list_is_no_link_to_a_secret(name, tmp_path, monkeypatch):
    """Lines of ~/.ssh/config would become labels, which are printed, trained on and sent along."""
    secret, folder = tmp_path / "secret", tmp_path / "data"
    folder.mkdir()
    (folder / "p.png").write_bytes(encoded(grey()[:, :, 0]))
    secret.write_text('[{"filename": "p.png", "text": "hunter"}]' if name.endswith("json") else "p.png\thunter\n")
    if name in ("annotation_train.txt", "lexicon.txt"):
        (folder / "annotation_train.txt").write_text("./1/1/1_hunter_0.jpg 0\n")
        (folder / "lexicon.txt").write_text("hunter\n")
        secret.write_text((folder / name).read_text())
        (folder / name).unlink()
    (folder / name).symlink_to(secret)
    with pytest.raises(DataError, match="leads out of the data set; CRNN_FOLLOW_LINKS=1 allows that"):
        open_source(folder, "train")
    monkeypatch.setenv("CRNN_FOLLOW_LINKS", "1")
    from models.data.files import stays_inside

    stays_inside.cache_clear()
    assert open_source(folder, "train").label(0) == "hunter"
    stays_inside.cache_clear()


def test_a_list_that_the_user_names_may_be_a_link(listed, tmp_path):
    (tmp_path / "mine.tsv").symlink_to(listed / "labels.tsv")
    options = prepare.COMMAND.parse(["--source", "x", "--image-root", str(listed)]).source_options
    assert open_source(tmp_path / "mine.tsv", "train", options).label(3) == "word3"


def test_sparse_files_are_not_read_whole(tmp_path):
    for name in ("labels.json", "alphabet.txt"):
        with (tmp_path / name).open("wb") as file:
            file.truncate(1 << 40)
    with pytest.raises(DataError, match="more than"):
        open_source(tmp_path / "labels.json", "train")
    with pytest.raises(DataError, match="more than"):
        Charset.named(str(tmp_path / "alphabet.txt"))
    with (tmp_path / "list.tsv").open("wb") as file:
        file.write(b"p.png\tword\n")
        file.truncate(1 << 40)
    with pytest.raises(DataError, match="not a regular file of at most"):
        open_source(tmp_path / "list.tsv", "train")


@pytest.mark.parametrize("kind", ["json", "lexicon"])
def test_a_label_is_bounded_whatever_holds_it(kind, tmp_path):
    """A label of 200 MB was taken and printed."""
    (tmp_path / "p.png").write_bytes(encoded(grey()[:, :, 0]))
    if kind == "json":
        (tmp_path / "labels.json").write_text(json.dumps([{"filename": "p.png", "text": "x" * 20_000}]))
    else:
        (tmp_path / "annotation_train.txt").write_text("./1/1/1_word_0.jpg 0\n")
        (tmp_path / "lexicon.txt").write_text("x" * 20_000 + "\n")
    with pytest.raises(DataError, match="of 20,000 characters, more than 10,000"):
        open_source(tmp_path, "train").label(0)


def test_packed_ends_beyond_63_bits_name_no_other_text(small, tmp_path):
    """Negative places would be counted from the end of the texts."""
    out = prepared(small, tmp_path / "packed", "--packed") / "train"
    ends = np.memmap(out / "ends.npy", "<u8", "r+", 128)
    ends[0], ends[1] = 2**64 - 5, 2**64 - 1
    ends.flush()
    source = open_source(out, "train")
    with pytest.raises(DataError, match=r"ends\.npy is broken"):
        source.label(1)


def test_an_audit_notices_every_flipped_bit_of_a_sample(small, tmp_path, capsys):
    """As LMDB and as packed rows: each byte of an image or a label that differs, and none where nothing does."""
    for name, options in (("lmdb", ()), ("packed", ("--packed",))):
        out = prepared(small, tmp_path / name, *options)
        audit = ["--source", str(out), "--audit", "--workers", "1", "--splits", "train"]
        prepare.main(audit)
        assert "every label and image is as models.prepare wrote it" in capsys.readouterr().out
        for flip in (flip_image, flip_label):
            spoiled = tmp_path / f"{name}-{flip.__name__}"
            shutil.copytree(out, spoiled)
            flip(spoiled / "train")
            audit[1] = str(spoiled)
            with pytest.raises(DataError, match=r"not those that models\.prepare wrote"):
                prepare.main(audit)


def flip_image(folder: Path) -> None:
    if (folder / "images.npy").is_file():
        flip(folder / "images.npy", 128 + 777)
    else:  # a pixel of a BMP would be decoded without a word; here a bit of the PNG's last chunk
        change(folder, b"image-000000003", lambda content: content[:-1] + bytes([content[-1] ^ 1]))


def flip_label(folder: Path) -> None:
    if (folder / "texts.bin").is_file():
        flip(folder / "texts.bin", 4)
    else:
        change(folder, b"label-000000002", lambda content: content[:-1] + b"9")


def flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(content)


def change(folder: Path, key: bytes, to) -> None:
    with lmdb.open(str(folder)) as environment, environment.begin(write=True) as writing:
        writing.put(key, to(bytes(writing.get(key))))


@pytest.mark.parametrize("kind", ["lmdb", "packed"])
def test_two_writers_of_one_folder_exclude_each_other(kind, tmp_path):
    """Two at once left a folder spoiled for ever; a killed one's lock dies with it."""
    begin = {
        "lmdb": "from models.data.writer import LMDBWriter; w = LMDBWriter(Path('out'), 'x')",
        "packed": "from models.data.packed import PackedWriter as P; w = P(Path('out'), 'x', Shape(), 'n', False)",
    }[kind]
    lines = ["from pathlib import Path", "from models.data.image import Shape", begin, "print('has it', flush=True)"]
    code = "\n".join([*lines, "input()"])
    process = subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)},
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)  # fmt: skip
    again = {
        "lmdb": lambda: LMDBWriter(tmp_path / "out", "x"),
        "packed": lambda: PackedWriter(tmp_path / "out", "x", Shape(), "n", sample=False),
    }[kind]
    try:
        assert process.stdout.readline() == "has it\n"
        with pytest.raises(DataError, match="another process writes there"):
            again()
    finally:
        process.kill()
        process.wait()
    writer = again()
    writer.finish()
    writer.close()
    assert not (tmp_path / "out" / "writing.lock").exists()


@pytest.mark.parametrize("name", ["pipe", "zero"])
def test_a_reporter_does_not_wait_for_what_is_no_record(name, tmp_path):
    place = tmp_path / "CRNN_FP32_1CPU_Infer.x.json"
    os.mkfifo(place) if name == "pipe" else place.symlink_to("/dev/zero")
    done = subprocess.run([sys.executable, "-m", "bench.report", str(tmp_path)], cwd=ROOT, capture_output=True,
                          text=True, timeout=IN_TIME_S)  # fmt: skip
    assert "not a regular file" in done.stdout + done.stderr, done
