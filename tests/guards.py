"""Does a test fail when a guard of SECURITY.md is taken out? `python -m tests.guards [TEXT ...]` tries each in turn.

Each is an edit of one place in a copy of the checkout, in which the tests named are then run; without the edit they
pass, as the suite shows. Prints a table; the exit code is 1 when a guard is not missed. A TEXT chooses by row or guard.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.support import ROOT

FOLDERS = ("bench", "models", "crnn_bench", "run_scripts", "docker", "tests", "benchmarks", "results", "docs")
WEIGHTS, DATA, FILES = (f"tests/hostile/test_hostile_{name}.py" for name in ("weights", "data", "files"))
IMAGES, REQUESTS, RECORDS = (f"tests/hostile/test_hostile_{name}.py" for name in ("images", "requests", "records"))
SERVE, CONNECTIONS = "tests/models/serving/test_serve.py", "tests/models/serving/test_connections.py"


@dataclass(frozen=True)
class Guard:
    """row: how the first cell of its row in SECURITY.md begins. old: text that occurs once in the file."""

    row: str
    name: str
    file: str
    old: str
    new: str
    tests: str


GUARDS = [
    Guard("checkpoints: `.pt`", "weights_only", "models/weights/unpickle.py",
          "weights_only=True)", "weights_only=False)",
          f"{WEIGHTS} -k no_code_runs"),
    Guard("checkpoints: `.pt`", "tar archives", "models/weights/unpickle.py",
          "if not zipped and tarfile.is_tarfile(path):", "if False:", f"{WEIGHTS} -k a_tar_is_refused"),
    Guard("checkpoints: `.pt`", "compressed members", "models/weights/unpickle.py",
          "if unpacked > path.stat().st_size:", "if False:", f"{WEIGHTS} -k compressed_archive"),
    Guard("checkpoints: `.pt`", "checksum", "models/weights/checkpoint.py",
          'check_whole(path, content["format"])', "pass", "tests/models/weights/test_checksum.py"),
    Guard("checkpoints: `.safetensors`", "checksum", "models/weights/file.py",
          "if not has_valid_checksum(path) and", "if False and", "tests/models/weights/test_checksum.py"),
    Guard("images", "formats", "models/data/image.py", "io.BytesIO(encoded), formats=FORMATS)", "io.BytesIO(encoded))",
          f"{IMAGES} -k no_program"),
    Guard("images", "scans", "models/data/image.py", "> MOST_SCANS:", "> 1e9:", IMAGES),
    Guard("images", "pixels", "models/data/image.py", "if image.width * image.height > most_pixels:", "if False:",
          f"{IMAGES} {SERVE}"),
    Guard("images", "tiles", "models/data/image.py", "> MOST_TILES:", "> 1e9:", IMAGES),
    Guard("images", "segments", "models/data/image.py", "if next(islice(", "if False and next(islice(",
          f"{REQUESTS} -k picture_is_walked"),
    Guard("images", "chunks", "models/data/image.py", "elif encoded[:8] == PNG and has", "elif False and has",
          f"{REQUESTS} -k picture_is_walked"),
    Guard("images", "decoders in Python", "models/data/image.py", "refuse_large(image, PYTHON_PIXELS)", "pass",
          f"{REQUESTS} -k picture_is_walked"),
    Guard("images", "frames are not counted", "models/data/image.py", "of several frames or pages: give",
          "of {image.n_frames} frames: give", f"{REQUESTS} -k picture_is_walked"),
    Guard("paths in lists", "paths that lead out", "models/data/files.py", 'if "\\0" in path or not (is_plain(path)',
          'if "\\0" in path or not (True', f"{DATA} -k lead_out"),
    Guard("paths in lists", "links of images", "models/data/files.py",
          'if not stays_inside(limit, whole.rpartition("/")[0]) or (linked and', "if (False and",
          f"{DATA} -k link_cannot_lead_out"),
    Guard("paths in lists", "not waiting", "bench/files.py", "return os.open(path, flags | os.O_NONBLOCK)",
          "return os.open(path, flags)", f"{DATA} -k nothing_waits --timeout 60"),
    Guard("LMDB, packed rows", "regular files", "models/data/files.py",
          "if not stat.S_ISREG(status.st_mode) or status.st_size > most:", "if False:", f"{FILES} -k sparse"),
    Guard("LMDB, packed rows", "documents are bounded", "bench/files.py",
          "if content is None or len(content) > most:", "if False:", f"{FILES} -k sparse"),
    Guard("LMDB, packed rows", "links of lists", "models/data/files.py",
          "if not stays_inside(str(folder), str(path)):", "if False:", f"{FILES} -k link_to_a_secret"),
    Guard("LMDB, packed rows", "changed while in use", "models/data/files.py",
          "if identity is not None and (now := self.identity) != identity:", "if (now := self.identity) and False:",
          f"{FILES} -k under_a_run"),
    Guard("LMDB, packed rows", "counts", "models/data/store.py", "if 2 * count > (entries :=", "if 0 > (entries :=",
          f"{DATA} -k lies_about_itself"),
    Guard("LMDB, packed rows", "labels", "models/data/text.py", "if len(text) > LONGEST:", "if False:",
          f"{FILES} -k label_is_bounded"),
    Guard("LMDB, packed rows", "ends", "models/data/packed.py", "or begins.min() < 0 ", "",
          f"{FILES} -k beyond_63_bits"),
    Guard("LMDB, packed rows", "digest", "models/data/audit.py", "if found.digest != noted:", "if False:",
          f"{FILES} -k flipped_bit"),
    Guard("LMDB, packed rows", "one writer", "bench/files.py", "fcntl.LOCK_EX | fcntl.LOCK_NB)", "fcntl.LOCK_UN)",
          f"{FILES} -k two_writers"),
    Guard("records", "run names", "bench/records/record.py", 'RunName.parse(content["run"])', "str()",
          f"{RECORDS} -k becomes_no_path"),
    Guard("records", "packed series", "bench/records/record.py", "if count_packed(content) > 4 * LONGEST:", "if False:",
          f"{RECORDS} -k no_bomb"),
    Guard("records", "regular files", "bench/files.py", "if not stat.S_ISREG(status.st_mode):", "if False:",
          f"{FILES} -k reporter"),
    Guard("YAML", "safe_load", "bench/options.py", "yaml.safe_load(", "yaml.unsafe_load(",
          "tests/models/run/test_options.py"),
    Guard("names, labels", "terminals", "bench/errors.py", 'CONTROL.sub("", str(text))))', "str(text)))",
          f"{DATA} {WEIGHTS} -k forge"),
    Guard("names, labels", "Markdown", "bench/errors.py",
          'return escaped.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")', "return escaped",
          "tests/hostile/test_hostile_pages.py -k spreadsheets"),
    Guard("names, labels", "CSV", "bench/errors.py", 'begins in "=+-@" and', "False and",
          "tests/hostile/test_hostile_pages.py -k formula"),
    Guard("HTTP", "hosts", "models/serving/app.py", "allowed_hosts=hosts", 'allowed_hosts=["*"]',
          f"{CONNECTIONS} -k lend_it_its_name"),
    Guard("HTTP", "origins", "models/serving/browsers.py", "or self.is_own(Headers(scope=scope))", "or True",
          f"{REQUESTS} -k another_origin"),
    Guard("HTTP", "headers for browsers", "models/serve.py", "headers=HEADERS)", "headers=[])",
          f"{REQUESTS} -k headers_that_browsers"),
    Guard("HTTP", "codecs", "models/serving/decoding.py", """f'multipart/form-data; boundary="{boundary}"'.encode()""",
          "content_type.encode()", f"{REQUESTS} -k codec"),
    Guard("HTTP", "time of decoding", "models/serving/decoding.py", "signal.setitimer(signal.ITIMER_PROF, seconds)",
          "pass", f"{REQUESTS} -k hard_to_read"),
    Guard("HTTP", "boundaries", "models/serving/decoding.py", "if not BOUNDARY.fullmatch(boundary):", "if False:",
          f"{REQUESTS} -k boundary"),
    Guard("HTTP", "turns", "models/serving/batcher.py", "self.queue.add(client, zip(", "self.queue.add(0, zip(",
          "tests/models/serving/test_batcher.py -k does_not_wait"),
    Guard("HTTP", "batches in time", "models/serving/batcher.py", "max(1, min(possible, 2 * self.room, self.size))",
          "self.size", "tests/models/serving/test_batcher.py -k as_large_as"),
    Guard("HTTP", "pipelining", "models/serving/connections.py", "if len(self.pipeline) >= PIPELINED:", "if False:",
          f"{REQUESTS} -k pipelined"),
    Guard("HTTP", "bytes", "models/serving/requests.py",
          "if len(body) > limits.most_bytes or self.held > limits.most_held:", "if False:",
          f"{SERVE} {REQUESTS} -k bad_input or held_at_once"),
    Guard("HTTP", "connections", "models/serving/connections.py",
          "if len(self.connections) > self.limits.connections:", "if False:", f"{CONNECTIONS} -k one_connection"),
    Guard("HTTP", "slow clients", "models/serving/connections.py", "self.transport.close()\n        self.watch()",
          "self.watch()", f"{CONNECTIONS} -k slow"),
    Guard("HTTP", "the end", "models/serving/ending.py", "limit.start()", "pass", f"{REQUESTS} -k sigterm"),
    Guard("names, paths, options", "the working folder", "run_scripts/module.py",
          "sys.path[:] = [str(here.parent), ", 'sys.path[:] = ["", str(here.parent), ',
          "tests/hostile/test_hostile_scripts.py -k working_folder"),
    Guard("names, paths, options", "what docker reads", "docker/run_docker.sh",
          """"type=bind,\\"source=${source//\\"/\\"\\"}\\",target=$2${3:+,$3}")""",
          '"type=bind,source=$source,target=$2${3:+,$3}")', "tests/hostile/test_hostile_scripts.py -k goes_to_docker"),
    Guard("names, paths, options", "names of devices", "docker/common.sh", "cpu | cuda | mlu) ;;", "*) ;;",
          "tests/system/test_docker.py -k device"),
]  # fmt: skip


def copied(place: Path) -> Path:
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, place / folder, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ROOT.iterdir():
        if file.is_file():
            shutil.copy(file, place / file.name)
    return place


def failing(guard: Guard, place: Path) -> list[str]:
    """Tests that fail in the copy when the guard is out of it."""
    file = place / guard.file
    whole = file.read_text(encoding="utf8")
    file.write_text(whole.replace(guard.old, guard.new), encoding="utf8")
    files, _, chosen = guard.tests.partition(" -k ")
    chosen, _, timeout = chosen.partition(" --timeout ")
    command = [sys.executable, "-m", "pytest", "-q", "-x", "--tb=no", "-o", "addopts=--import-mode=importlib",
               "--timeout", timeout or "200", *files.split(), *(["-k", chosen] if chosen else [])]  # fmt: skip
    variables = {**os.environ, "PYTHONPATH": str(place), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(command, cwd=place, env=variables, capture_output=True, text=True, timeout=900)
    finally:
        file.write_text(whole, encoding="utf8")
    if done.returncode not in (0, 1):  # nothing collected, or pytest killed by what the guard kept out
        return [f"pytest ended with {done.returncode}"] if done.returncode < 0 or "Timeout" in done.stdout else []
    return re.findall(r"^(?:FAILED|ERROR) \S+?::(.+?)(?: - .*)?$", done.stdout, re.MULTILINE)


def main(*texts: str) -> int:
    missed = 0
    print("| row of SECURITY.md | guard taken out | a test that then fails |\n|---|---|---|")
    with tempfile.TemporaryDirectory(prefix="guards-") as folder:
        place = copied(Path(folder))
        for guard in GUARDS:
            if texts and not any(text in f"{guard.row} {guard.name}" for text in texts):
                continue
            failed = failing(guard, place)
            missed += not failed
            print(f"| {guard.row} | {guard.name} | {failed[0] if failed else '**none**'} |", flush=True)
    print(f"{missed} guards are not missed")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
