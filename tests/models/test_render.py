"""The rendered sample: same bytes for the same seed, Synth90k's layout, splits by word, whole or not at all."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import signal
import string
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import simplejpeg
from fontTools.ttLib import TTFont
from PIL import Image

from bench.errors import UserError
from models import render
from models.rendering import drawing, files, find_faces, fonts, hard, lexicon, warping
from models.rendering import render as render_word
from models.rendering.files import INSIDE, MARKER
from models.rendering.sample import Look, Sample, encode

FACES = find_faces()


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(key=[seed, 0]))


def digest(folder: Path) -> str:
    whole = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        whole.update(str(path.relative_to(folder)).encode() + path.read_bytes())
    return whole.hexdigest()


def made(out: Path, *options: str) -> Path:
    render.main(["--out", str(out), "--workers", "1", *options])
    return out / INSIDE


@pytest.fixture(scope="module")
def sample(tmp_path_factory) -> Path:
    return made(tmp_path_factory.mktemp("sample"), "--count", "600", "--style", "hard", "--seed", "3")


def rows(sample: Path, name: str = "annotation") -> list[tuple[str, int]]:
    pairs = [line.split(" ") for line in (sample / f"{name}.txt").read_text().splitlines()]
    return [(path, int(line)) for path, line in pairs]


class TestBytes:
    def test_the_number_of_workers_changes_nothing(self, sample, tmp_path):
        options = ["--count", "600", "--style", "hard", "--seed", "3", "--workers", "2"]
        render.main(["--out", str(tmp_path), *options])
        assert digest(tmp_path / INSIDE) == digest(sample)

    def test_another_seed_draws_other_pictures(self, sample, tmp_path):
        other = made(tmp_path, "--count", "20", "--style", "hard", "--seed", "4")
        assert rows(other) != rows(sample)[:20]

    @pytest.mark.parametrize("style", ["plain", "hard", "street"])
    def test_a_word_is_the_same_for_the_same_generator(self, style):
        first, again, other = (render_word("moniker", rng(seed), style, FACES) for seed in (1, 1, 2))
        assert np.array_equal(first, again)
        assert not np.array_equal(first, other)

    def test_encoding_an_odd_picture_twice_gives_the_same_file(self):
        pictures = [render_word("moniker", rng(seed), "hard", FACES)[:31] for seed in range(20)]
        assert [encode(p, 80) for p in pictures] == [encode(p, 80) for p in pictures]

    def test_jpeg_has_three_components_and_halved_chroma_as_synth90k(self, sample):
        jpeg = (sample / rows(sample)[0][0]).read_bytes()
        height, width, colourspace, subsampling = simplejpeg.decode_jpeg_header(jpeg)
        assert height in (31, 32)
        assert width > 10
        assert (colourspace, subsampling) == ("YCbCr", "420")


class TestLayout:
    def test_the_second_token_is_the_line_of_the_word_in_the_lexicon(self, sample):
        words = (sample / "lexicon.txt").read_text().splitlines()
        assert len(rows(sample)) == 600
        for path, line in rows(sample):
            number, text, index = Path(path).stem.split("_")
            assert words[line] == text.lower()
            assert int(index) == line
            assert 1 <= int(number) <= files.PER_FOLDER

    def test_every_picture_named_is_there_and_no_other(self, sample):
        there = {f"./{path.relative_to(sample)}" for path in sample.rglob("*.jpg")}
        named = [path for path, _ in rows(sample)]
        assert there == set(named)
        assert named == (sample / "imlist.txt").read_text().splitlines()

    def test_splits_make_up_the_whole_and_share_no_word(self, sample):
        splits = [rows(sample, f"annotation_{name}") for name in ("train", "val", "test")]
        assert [len(split) for split in splits] == [540, 30, 30]
        assert [row for split in splits for row in split] == rows(sample)
        words = [{line for _, line in split} for split in splits]
        assert sum(map(len, words)) == len(set.union(*words))

    def test_words_of_splits_stay_apart_when_they_must_repeat(self):
        few = Sample(["a", "b", "c", "d", "e"], 1000, (0.6, 0.2, 0.2), Look(FACES, 1, "plain", "lower"))
        lines = few.lines()
        used = [set(lines[pictures.start : pictures.stop].tolist()) for pictures in few.splits().values()]
        assert [len(words) for words in used] == [3, 1, 1]
        assert set.union(*used) == {0, 1, 2, 3, 4}

    def test_the_marker_says_what_was_made(self, sample):
        about = json.loads((sample / MARKER).read_text())
        assert about["sample"] is True
        assert (about["seed"], about["count"], about["style"], about["case"]) == (3, 600, "hard", "mixed")
        assert about["splits"] == {"train": 540, "val": 30, "test": 30}
        assert len(about["fonts"]) == len(FACES)

    def test_a_given_lexicon_keeps_its_line_numbers(self, tmp_path):
        words = ["0", "00", "zebra", "Apple", "kiwi", "plum"]
        (tmp_path / "words.txt").write_bytes("\ufeff".encode() + "\r\n".join(words).encode())
        options = ["--lexicon", str(tmp_path / "words.txt"), "--count", "9", "--split", "1/0/0"]
        sample = made(tmp_path / "out", *options)
        assert (sample / "lexicon.txt").read_text().split() == [word.lower() for word in words]
        assert {line for _, line in rows(sample)} == set(range(6))


class TestWords:
    @pytest.mark.parametrize(("case", "seen"), [("lower", {"ab"}), ("title", {"Ab"}), ("upper", {"AB"})])
    def test_case(self, case, seen):
        assert {lexicon.spell("ab", case, rng(i)) for i in range(30)} == seen

    def test_mixed_case_is_a_third_of_each(self):
        generator = rng()
        spelled = [lexicon.spell("ab", "mixed", generator) for _ in range(3000)]
        assert all(900 < spelled.count(word) < 1100 for word in ("ab", "Ab", "AB"))

    def test_bundled_words_are_english_each_once(self):
        words = lexicon.read_words()
        assert len(words) == len(set(words)) == 39_561
        assert {"harbor", "photograph", "zebra"} <= set(words)
        assert all(word.isascii() and word.isalpha() and word.islower() for word in words)

    def test_numbers_are_added(self, tmp_path):
        sample = made(tmp_path, "--count", "30", "--numbers", "50")
        words = (sample / "lexicon.txt").read_text().splitlines()
        assert len(words) == 39_561 + 50
        assert all(word.isdecimal() for word in words[-50:])

    def test_punctuation_is_part_of_the_label(self, tmp_path):
        (tmp_path / "words.txt").write_text("kiwi\nplum\n")
        options = ["--lexicon", str(tmp_path / "words.txt"), "--numbers", "98", "--punctuated", "0.5"]
        sample = made(tmp_path / "out", *options, "--count", "100", "--split", "1/0/0")
        words = (sample / "lexicon.txt").read_text().splitlines()
        assert 30 < sum(not word.isalnum() for word in words) < 70
        for path, line in rows(sample):
            assert Path(path).stem.split("_")[1].lower() == words[line]

    def test_every_mark_that_a_file_name_can_have_comes_before_after_and_in_a_word(self):
        made = lexicon.punctuate(["ab"] * 20_000, 1, seed=1)
        assert {c for word in made for c in word} - set("ab") == set(string.punctuation) - set("/\\_")
        assert {"(ab)", "ab.", "$ab", "a'b"} <= set(made)
        assert all("".join(filter(str.isalnum, word)) == "ab" for word in made)


def stop_container(pid: int) -> None:
    os.kill(pid, signal.SIGTERM)


def press_ctrl_c(pid: int) -> None:
    os.killpg(pid, signal.SIGINT)


class TestWholeOrNothing:
    def test_an_error_on_the_way_leaves_nothing(self, tmp_path, monkeypatch):
        def fail_late(self, word, number):
            if number == 20:
                raise OSError("No space left on device")
            return word, b"jpeg"

        monkeypatch.setattr(Look, "jpeg", fail_late)
        with pytest.raises(UserError, match="No space left on device; nothing was left behind"):
            render.main(["--out", str(tmp_path), "--count", "50", "--workers", "1"])
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("problem", [OSError("no such folder"), KeyboardInterrupt()], ids=["error", "stop"])
    def test_a_whole_sample_that_is_left_is_not_denied(self, problem, tmp_path, monkeypatch, capsys):
        def fail(sample):
            raise problem

        monkeypatch.setattr(render, "draw_sample_sheet", fail)
        with pytest.raises((UserError, SystemExit)) as ended:
            made(tmp_path, "--count", "5", "--sheet", str(tmp_path / "sheet.png"))
        assert "left behind" not in f"{ended.value} {capsys.readouterr().err}"
        assert len(rows(tmp_path / INSIDE)) == 5

    @pytest.mark.parametrize("stop", [stop_container, press_ctrl_c])
    def test_a_stopped_run_leaves_nothing_and_one_line(self, stop, tmp_path):
        command = [
            sys.executable,
            "-m",
            "models.render",
            "--out",
            str(tmp_path),
            "--count",
            "1000000",
            "--workers",
            "2",
        ]
        running = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
        deadline = time.monotonic() + 60
        while not any(tmp_path.glob(".Synth90k.part-*/**/*.jpg")) and time.monotonic() < deadline:
            time.sleep(0.1)
        stop(running.pid)
        _, said = running.communicate(timeout=60)
        assert running.returncode == 130, said
        assert said == "models.render: interrupted; nothing was left behind\n"
        assert list(tmp_path.iterdir()) == []

    def test_what_a_killed_run_left_is_removed_and_a_living_one_is_not(self, tmp_path):
        dead, alive = (tmp_path / f".Synth90k.part-{name}" for name in ("dead", "alive"))
        dead.mkdir()
        (dead / "half.jpg").touch()
        alive.mkdir()
        with (alive / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            made(tmp_path, "--count", "5")
        assert not dead.exists()
        assert alive.exists()

    def test_a_run_is_not_taken_for_dead_while_its_sample_appears(self, tmp_path, monkeypatch):
        rename = Path.rename

        def watched(part: Path, target: Path) -> Path:
            files.remove_abandoned(part)
            return rename(part, target)

        monkeypatch.setattr(Path, "rename", watched)
        sample = made(tmp_path, "--count", "5")
        assert len(list(sample.rglob("*.jpg"))) == 5
        assert list(tmp_path.rglob("*.lock")) == []

    @pytest.mark.parametrize("step", ["open", "lock"])
    def test_a_run_whose_folder_is_taken_before_it_is_locked_makes_another(self, step, tmp_path, monkeypatch):
        taken, owner, name = [], *{"open": (Path, "open"), "lock": (fcntl, "flock")}[step]
        before = getattr(owner, name)

        def late(*arguments, **options):
            if not taken:
                taken.extend(map(shutil.rmtree, tmp_path.glob(".Synth90k.part-*")))
            return before(*arguments, **options)

        monkeypatch.setattr(owner, name, late)
        assert len(rows(made(tmp_path, "--count", "5"))) == 5
        assert taken and [path.name for path in tmp_path.iterdir()] == ["Synth90k"]

    def test_of_two_runs_at_once_the_slower_takes_what_the_faster_made(self, tmp_path, monkeypatch, capsys):
        made(tmp_path / "faster", "--count", "5")
        (tmp_path / "out").mkdir()
        monkeypatch.setattr(
            files, "write_index", lambda *_: shutil.copytree(tmp_path / "faster/Synth90k", tmp_path / "out/Synth90k")
        )
        made(tmp_path / "out", "--count", "5")
        assert "already there, complete: 5 plain images" in capsys.readouterr().out
        assert [path.name for path in (tmp_path / "out").iterdir()] == ["Synth90k"]
        shutil.rmtree(tmp_path / "out/Synth90k")
        assert "holds another sample" in refused("--out", str(tmp_path / "out"), "--count", "6", "--workers", "1")

    def test_the_same_again_is_kept_and_another_is_refused(self, tmp_path):
        sample = made(tmp_path, "--count", "5")
        before = (sample / "annotation.txt").stat().st_mtime_ns
        made(tmp_path, "--count", "5")
        assert (sample / "annotation.txt").stat().st_mtime_ns == before
        with pytest.raises(UserError, match=r"holds another sample \(count 5, not 6\)"):
            render.main(["--out", str(tmp_path), "--count", "6"])

    def test_a_real_dataset_is_never_touched(self, tmp_path):
        (tmp_path / INSIDE).mkdir(parents=True)
        (tmp_path / INSIDE / "annotation.txt").write_text("./1/1/1_a_0.jpg 0\n")
        with pytest.raises(UserError, match="was not rendered"):
            render.main(["--out", str(tmp_path), "--count", "5"])
        assert (tmp_path / INSIDE / "annotation.txt").read_text() == "./1/1/1_a_0.jpg 0\n"


BAD_OPTIONS = {
    "no pictures": (["--count", "0"], "--count is 1 to 10000000, not 0"),
    "negative seed": (["--seed", "-1"], "--seed is at least 0, not -1"),
    "unknown style": (["--style", "soft"], "plain, hard, street"),
    "unknown case": (["--case", "camel"], "lower, title, upper, mixed"),
    "two shares": (["--split", "0.9/0.1"], "--split wants 3 numbers with commas, not '0.9/0.1'"),
    "no share": (["--split", "0/0/0"], "not all of them 0"),
    "no such lexicon": (["--lexicon", "nowhere.txt"], "nowhere.txt"),
    "no such font": (["--fonts", "nowhere"], "'nowhere' is no source of fonts"),
    "more than all punctuated": (["--punctuated", "1.5"], "--punctuated is 0 to 1, not 1.5"),
    "misspelt option": (["--cuont", "5"], "did you mean --count?"),
}
BAD_LEXICONS = {
    "empty": (b"\n\n", "no words"),
    "not text": (b"\xff\xfe\x00", "UTF-8"),
    "a path": (b"fine\n../../etc\n", "line 2: '../../etc'"),
    "underscore": (b"a_b\n", "line 1: 'a_b'"),
    "no word": (b"x" * 500, "line 1: 'xxx"),
    "too few": (b"one\n", "too few to give"),
}


def refused(*argv: str) -> str:
    """The one line that a run says which must be refused."""
    with pytest.raises(UserError) as refusal:
        render.main([*argv])
    assert len(str(refusal.value).splitlines()) == 1
    return str(refusal.value)


class TestBadInput:
    @pytest.mark.parametrize(("options", "said"), BAD_OPTIONS.values(), ids=BAD_OPTIONS.keys())
    def test_options(self, options, said, tmp_path):
        assert said in refused("--out", str(tmp_path), *options)
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize(("content", "said"), BAD_LEXICONS.values(), ids=BAD_LEXICONS.keys())
    def test_lexicons(self, content, said, tmp_path):
        (tmp_path / "words.txt").write_bytes(content)
        options = ["--count", "50", "--lexicon", str(tmp_path / "words.txt")]
        assert said in refused("--out", str(tmp_path / "out"), *options)
        assert not (tmp_path / "out" / "Synth90k").exists()

    def test_nothing_to_make(self):
        assert "give --out DIR" in refused()

    @pytest.mark.parametrize("name", ["broken.ttf", "broken.ttc"])
    def test_a_font_that_is_none(self, name, tmp_path):
        (tmp_path / name).write_bytes(b"not a font")
        assert f"{name}: not a font" in refused("--out", str(tmp_path / "out"), "--fonts", str(tmp_path))

    def test_characters_that_no_face_has(self):
        with pytest.raises(fonts.FontError, match="lacks '汉'"):
            find_faces("bundled", "ab汉")


class TestFonts:
    def test_dozens_of_bundled_faces_have_letters_and_digits(self):
        faces = find_faces("bundled", string.ascii_letters + string.digits)
        assert len(faces) >= 60
        assert faces == FACES

    def test_the_plain_style_has_its_dozen(self):
        assert {face.name for face in fonts.plain_faces(FACES)} == set(fonts.PLAIN)

    def test_a_folder_and_a_package_are_sources_too(self, tmp_path):
        lato = next(face for face in FACES if face.name == "Lato-Regular")
        (tmp_path / "Lato-Regular.ttf").symlink_to(lato.path)
        assert [face.name for face in find_faces(str(tmp_path))] == ["Lato-Regular"]
        assert lato in find_faces("font_lato")

    def test_a_pattern_finds_web_fonts_and_they_draw_the_same(self, tmp_path):
        lato = next(face for face in FACES if face.name == "Lato-Regular")
        (tmp_path / "lato").mkdir()
        with TTFont(lato.path) as font:
            font.flavor = "woff"
            font.save(tmp_path / "lato" / "lato-latin-400-normal.woff")
        (found,) = find_faces(f"{tmp_path}/**/*-latin-[47]00-*.woff")
        assert (drawing.draw("word", found) == drawing.draw("word", lato)).all()
        assert "no fonts in" in refused("--out", str(tmp_path / "out"), "--fonts", f"{tmp_path}/*.none")


class TestDrawing:
    def test_spacing_widens_a_word(self):
        tight, loose = (drawing.draw("word", FACES[0], spacing) for spacing in (0, 5))
        assert 14 <= loose.shape[1] - tight.shape[1] <= 16

    def test_a_dash_stays_a_dash(self):
        mask = drawing.draw("-", FACES[0])
        assert mask.shape[0] == drawing.LOWEST
        assert mask.any(axis=1).sum() < mask.shape[0] / 2

    def test_nothing_to_draw_is_an_error(self):
        with pytest.raises(fonts.FontError, match="draws nothing"):
            drawing.draw(" ", FACES[0])

    def test_dilation_grows_by_its_radius(self):
        grown = hard.dilate(np.full((1, 1), 255, np.uint8), 2)
        assert grown.shape == (5, 5)
        assert (grown > 0).sum() == 13  # a diamond: 1 + 3 + 5 + 3 + 1

    def test_bending_moves_the_ends_and_loses_no_ink(self):
        bent = warping.bend(np.full((4, 9), 1, np.uint8), 6)
        assert bent.shape == (10, 9)
        assert bent.sum() == 36
        assert bent[:4, 4].all()
        assert bent[6:, [0, -1]].all()

    def test_looking_straight_at_a_mask_shows_it_unchanged(self):
        mask = drawing.draw("word", FACES[0])
        straight = warping.View(stretch=1, slant=0, near=1, turn=0, margins=(0, 0, 0, 0))
        assert np.array_equal(warping.project(Image.fromarray(mask), straight, mask.shape[0]), mask)

    def test_the_homography_takes_corners_to_corners(self):
        points = np.array([[3, 1], [90, 4], [85, 30], [0, 27]], float)
        a, b, c, d, e, f, g, h = warping.homography(points, (40, 20))
        x, y = points.T
        seen = np.stack([a * x + b * y + c, d * x + e * y + f]) / (g * x + h * y + 1)
        np.testing.assert_allclose(seen.T, [[0, 0], [40, 0], [40, 20], [0, 20]], atol=1e-9)

    def test_the_longest_word_is_squeezed_to_the_widest_picture(self):
        picture = render_word("W" * lexicon.LONGEST, rng(), "hard", FACES)
        assert picture.shape[1] <= warping.WIDEST


class TestLooks:
    def test_grey_levels_of_the_hard_style_are_those_of_synth90k(self):
        # of 803 genuine pictures: mean 117 (quartiles 74 and 156), standard deviation 32 (quartiles 21 and 50)
        words = ("photograph", "Cat", "EXAMPLES", "menses", "Infinity")
        pictures = [render_word(words[seed % 5], rng(seed), "hard", FACES) for seed in range(800)]
        means, deviations = (np.percentile([f(p) for p in pictures], [25, 50, 75]) for f in (np.mean, np.std))
        np.testing.assert_allclose(means, [74, 117, 156], atol=14)
        np.testing.assert_allclose(deviations, [21, 32, 50], atol=6)

    def test_plain_text_is_darker_than_its_ground_and_well_apart(self):
        for seed in range(50):
            picture = render_word("word", rng(seed), "plain", FACES).astype(int)
            assert np.median(picture) - np.percentile(picture, 1) > 30

    def test_a_contact_sheet(self, tmp_path):
        render.main(["--sheet", str(tmp_path / "sheet.png"), "--count", "30"])
        sheet = np.asarray(Image.open(tmp_path / "sheet.png"))
        assert sheet.shape == (816, 1560)
        assert (sheet[:31] < 255).mean() > 0.5
        assert (sheet[-31:] == 255).all()


def test_torch_is_not_imported():
    code = "import sys, models.render; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
