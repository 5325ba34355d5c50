import csv
import io
import subprocess
import sys
from pathlib import Path

import pytest

from bench import errors


@pytest.mark.parametrize("formula", ["=1+1", "+1+1", "-2+3", "@SUM(A1)", "=cmd|' /C calc'!A0", " =1+1", "\uff1d1+1"])
def test_a_spreadsheet_gets_no_formula(formula):
    assert errors.escape_csv(formula) == "'" + formula


@pytest.mark.parametrize("number", ["-2.5", "+3", "1e-3", "", "CRNN"])
def test_numbers_and_words_stay(number):
    assert errors.escape_csv(number) == number


def test_a_terminal_gets_nothing_that_acts():
    assert errors.plain("\x1b[31mred\x1b[0m \x1b]0;title\x07 a\x08b\x9bc") == "red  abc"
    assert errors.one_line("a\nb\tc") == "a bc"
    assert errors.plain("GPU\u202eUPG") == "GPUUPG"
    assert errors.one_line("a\u2028b\ud800") == "a b\ufffd"


def test_a_markdown_cell_stays_one_cell_and_only_text():
    assert errors.escape_markdown("a|b\n<script>*x*[l](u)`") == r"a\|b &lt;script&gt;\*x\*\[l\](u)\`"


def test_a_bare_address_is_no_link():
    assert errors.escape_markdown("https://evil.example www.evil.example") == r"https\://evil.example www\.evil.example"


def test_csv_still_parses(tmp_path):
    cell = errors.escape_csv('"=1,\n2"')
    out = io.StringIO()
    csv.writer(out).writerow([cell, "x"])
    assert next(csv.reader(io.StringIO(out.getvalue()))) == ['"=1, 2"', "x"]


def test_a_reader_that_has_enough_ends_a_program_without_a_word():
    """`| head -1`, of more than a pipe and a buffer hold; a file that is full is another matter."""
    code = (
        "from bench.errors import run_cli\n"
        "def main():\n"
        "    print('first', flush=True); print('x' * 1_000_000); print('x' * 1_000_000)\n"
        "run_cli(main, 'it')"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as program:
        assert program.stdout.readline() == b"first\n"
        program.stdout.close()
        assert program.stderr.read() == b""
        assert program.wait() == 0
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([sys.executable, "-c", code], stdout=full, stderr=subprocess.PIPE)
    assert b"No space left" in done.stderr


@pytest.mark.parametrize("size", [10, 200_000], ids=["kept in the buffer", "written at once"])
def test_a_reader_that_has_read_enough_is_no_error(size):
    """As `| head` does: the pipe's other end is closed before the program prints."""
    program = (
        f"import sys; sys.stdin.read(); from bench.errors import run_cli; run_cli(lambda: print('x' * {size}), 'p')"
    )
    words = [sys.executable, "-c", program]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        running.stdout.close()
        running.stdin.close()
        said = running.stderr.read()
    assert (running.returncode, said) == (0, b"")
