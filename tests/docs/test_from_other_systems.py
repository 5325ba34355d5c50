"""Every row of docs/from-other-systems.md, run to the end on files laid out as those systems lay out theirs.

The commands are taken from the page. A row without one is in SAID, with what shows it.
"""

from __future__ import annotations

import importlib
import json
import re
import shlex
import subprocess
from pathlib import Path

import pytest
import torch

from bench.errors import UserError
from bench.options import Command
from models.crnn import CRNN
from models.data.charset import Charset
from models.data.opening import open_source
from tests.support import ROOT
from tests.support.data_samples import make_tree
from tests.support.images import jpeg

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]
PAGE = (ROOT / "docs" / "from-other-systems.md").read_text(encoding="utf8")
CHINESE = [chr(0x4E00 + i) for i in range(40)]
SHORT = {  # appended to a program's words, so that a row takes seconds
    "models.train": "--device CPU --batch-size 2 --steps 2 --warmup-steps 1 --min-steps 1 --min-seconds 0 --overwrite"
    " --allow data,batch,shape,optimizer",
    "models.test": "--device CPU --batch-size 2 --latency-runs 0 --min-steps 1 --min-seconds 0 --warmup-steps 0",
    "models.prepare": "--workers 1",
}
MOBILE = "--recipe mobilenetv2_cifar --data.charset A.txt"
ROW = re.compile(r"^\| (?P<there>.+?) \| (?P<here>.+?) \|$", re.MULTILINE)
CODE = re.compile(r"`([^`]+)`")


def first(here: str) -> str:
    """The first command or option of a cell."""
    return CODE.findall(here)[0]


def section(title: str) -> str:
    return PAGE.partition(f"## {title}")[2].partition("\n## ")[0]


def rows(title: str) -> list[tuple[str, str]]:
    found = [(row["there"], row["here"]) for row in ROW.finditer(section(title))]
    return [row for row in found if row != ("there", "here") and not row[0].startswith("---")]


def images(folder: Path, names: list[str], width: int = 96) -> None:
    for seed, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(jpeg(width=width, seed=seed))


class Desk:
    """A folder in which a user of one system has its files, and what the placeholders of the page are there."""

    def __init__(self, folder: Path, environment: dict[str, str], **meant: object):
        self.folder, self.environment = folder, environment
        self.meant = {name: str(value) for name, value in meant.items()}
        self.ran: list[str] = []

    def words(self, line: str) -> list[str]:
        words = [self.meant.get(word, word) for word in shlex.split(line)]
        return [self.meant.get(word, word) for word in words]

    def run(self, line: str, **environment: str) -> None:
        """A command of the page to its end. Raises on any failure."""
        line = line.replace(" and so on", "")
        self.ran.append(line)
        if line.startswith("--"):
            line = f"python -m models.train --dataset {self.meant['D' if 'D' in self.meant else 'DATA']} {line}"
        words = self.words(line)
        if words[0] == "python":
            self.program(words[2], words[3:])
        elif ";" in line:  # of the shell, then ours
            before, _, after = line.rpartition("; ")
            subprocess.run(["bash", "-c", before], cwd=self.folder, check=True)
            folder = re.match(r"cd (\S+);", line)
            self.run(after.replace("labels.tsv", f"{folder[1]}/labels.tsv") if folder else after)
        else:
            self.script(words, environment)

    def program(self, name: str, words: list[str]) -> None:
        words = [*words, *SHORT.get(name, "").split(), *self.places(name)]
        done = importlib.import_module(name).main(words)
        assert done in (None, 0), (name, words)

    def places(self, name: str) -> list[str]:
        if name not in ("models.train", "models.test"):
            return []
        return ["--checkpoints", str(self.folder / "ck"), "--results", str(self.folder / "runs")]

    def script(self, words: list[str], environment: dict[str, str]) -> None:
        settings = dict(word.split("=", 1) for word in words if re.match(r"[A-Z]+=", word))
        command = [word for word in words if not re.match(r"[A-Z]+=", word)]
        program = "models.test" if "Infer" in command[1] else "models.train"
        short = [word for word in SHORT[program].split() if word not in ("--device", "CPU")]
        done = subprocess.run(
            [*command, *short], cwd=ROOT, env={**self.environment, **settings, **environment}, capture_output=True,
            text=True, timeout=600,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr

    def record(self) -> dict:
        newest = max((self.folder / "runs").glob("*.json"), key=lambda path: path.stat().st_mtime_ns)
        return json.loads(newest.read_text())

    def trained(self, name: str = "best.pt") -> Path:
        return max(self.folder.glob(f"ck/*/{name}"), key=lambda path: path.stat().st_mtime_ns)


def run_rows(desk: Desk, title: str, said: dict[str, object]) -> None:
    """Every row: its commands, or what `said` has for it, by the left column. Nothing of either is left over."""
    missing = dict(said)
    for there, here in rows(title):
        if there in missing:
            check = missing.pop(there)
            assert check(here) is not False, there
            continue
        lines = [code for code in CODE.findall(here) if re.match(r"python -m|bash |paste|--\w|[A-Z]+=", code)]
        assert lines, f"{there}: no command, and nothing here says what shows it"
        for line in lines:
            desk.run(line)
    assert not missing, "rows that the page has no longer"


def takes(program: str, *words: str) -> bool:
    command: Command = importlib.import_module(program).COMMAND
    return bool(command.parse(list(words)))


def test_the_model_zoos(tmp_path, surroundings, monkeypatch):
    make_tree(tmp_path, words=["alpha", "bravo", "letter"])
    environment = {**surroundings, "PYTORCH_TRAIN_DATASET": str(tmp_path), "RESULTS": str(tmp_path / "runs"),
                   "PYTORCH_TRAIN_CHECKPOINT": str(tmp_path / "ck")}  # fmt: skip
    desk = Desk(tmp_path, environment, CKPT=tmp_path / "start.pt", D=tmp_path)
    network = CRNN(classes=37)
    torch.save({f"module.{name}": value for name, value in network.state_dict().items()}, tmp_path / "crnn.pth")
    monkeypatch.chdir(tmp_path)
    train = "bash run_scripts/CRNN_FP32_30E_4MLUs_Train.sh"

    def mlu(_):
        """Without the cards the script stops, and says what runs here."""
        done = subprocess.run(train.split(), cwd=ROOT, env=environment, capture_output=True, text=True)
        assert done.returncode == 2 and f"DEVICE=CPU CARDS=1 {train}" in done.stderr

    def resume(here):
        desk.trained("last.pt").rename(tmp_path / "start.pt")
        desk.run(first(here) + " --steps 3", DEVICE="CPU", CARDS="1")

    run_rows(desk, "Cambricon's model zoo, CRNN", {
        # tests/docs/test_release.py and tests/system/test_docker.py run these three
        "`pip install -r models/requirements.txt`": lambda _: (ROOT / "models" / "requirements.txt").is_file(),
        "`bash run_docker.sh [CONTAINER_NAME]`": lambda _: (ROOT / "run_docker.sh").is_file(),
        "`models/util.py`": lambda _: (ROOT / "models" / "util.py").is_file(),
        "`export PYTORCH_TRAIN_DATASET=...`": lambda here: here == "the same",  # all rows below have it
        "`export PYTORCH_TRAIN_CHECKPOINT=...`": lambda here: here == "the same",
        "`bash CRNN_FP32_30E_4MLUs_Train.sh`": mlu,
        "`bash CRNN_Infer.sh`": lambda here: desk.run(first(here)),
        "`--resume CKPT`": resume,
    })  # fmt: skip
    assert (tmp_path / "crnn.safetensors").is_file()


def lay_out_holmeyoungs(tmp_path) -> list[str]:
    """F/, by-list/list.txt, characters.txt and a published network; gives the names of the images."""
    words = ["move", "to", "stop", "gaitskell"]
    names = [f"{word}_{i}.jpg" for i, word in enumerate(words * 3)]
    images(tmp_path / "F", names)
    (tmp_path / "by-list").mkdir()
    lines = "".join(f"{tmp_path}/F/{name}\n{name.split('_')[0]}\n" for name in names)
    (tmp_path / "by-list" / "list.txt").write_text(lines)
    (tmp_path / "characters.txt").write_text("\n".join(sorted(set("".join(words)))) + "\n")
    network = CRNN(classes=1 + len(set("".join(words))))
    torch.save(network.state_dict(), tmp_path / "netCRNN.pth")
    return names


def test_holmeyoungs(tmp_path, surroundings, monkeypatch):
    """create_dataset.py --folder takes what stands before `_` for the label; --file is a path and a label in turn."""
    names = lay_out_holmeyoungs(tmp_path)
    monkeypatch.chdir(tmp_path)
    data = tmp_path / "F"
    desk = Desk(tmp_path, surroundings, F=data, O="O1", T=data, V=data, DATA="O1", IMAGE=data / names[0])

    def by_list(here):
        desk.meant["O"] = "O2"
        desk.run(f"cd by-list; {first(here)} --image-root {tmp_path}")

    def alphabet(here):
        assert takes("models.train", *first(here).split())
        desk.run(CODE.findall(here)[1])

    def pretrained(here):
        convert, start = CODE.findall(here)
        desk.run(convert)
        desk.program("models.train", ["--dataset", "O1", "--data.charset", "characters.txt", *start.split()])

    def cards(here):
        name = re.search(r"run_scripts/(\w+).sh", here)[1].replace("_AMP_30E_4GPUs", "_AMP_30E_1CPU")
        done = subprocess.run(
            ["bash", "run_scripts/run.sh", name, *SHORT["models.train"].split(), "--dataset", str(tmp_path / "O1"),
             *desk.places("models.train")],
            cwd=ROOT, env=surroundings, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr

    run_rows(desk, "Holmeyoung/crnn-pytorch: variable width", {
        "`python tool/create_dataset.py --out O --file list.txt`, path and label in turn": by_list,
        "`alphabets.py`": alphabet,
        "`keep_ratio = True` in params.py": lambda _: takes("models.train", "--recipe", "crnn_variable"),
        "`pretrained = 'netCRNN.pth'`": pretrained,
        "`multi_gpu = True`": cards,
        "`python demo.py -m MODEL -i IMAGE`": lambda here: desk.run(
            f"{first(here)} --checkpoint {desk.trained()}".replace("--recipe crnn_variable", "")),
    })  # fmt: skip
    assert Path("O1").is_dir() and Path("O2").is_dir()


def lay_out_zhiqwangs(tmp_path) -> Path:
    """D/ with images, lists of numbers and two alphabets, and a published checkpoint; gives D."""
    folder = tmp_path / "D"
    for split in ("train", "dev"):
        names = [f"0032{i}_{split}.jpg" for i in range(6)]
        images(folder / "images", names, width=280)
        rows_ = "".join(f"{name} {i + 1} 10 4 {i + 2}\n" for i, name in enumerate(names))
        (folder / f"{split}.txt").write_text(rows_)
    alphabet = ["blank", *"0123456789", *CHINESE[:9]]
    for name in ("char_std_5990.txt", "A.txt"):
        (folder / name).write_text("\n".join(alphabet[name == "A.txt" :]) + "\n", encoding="utf8")
    state = {"module.features.0.conv0.weight": torch.zeros(1, 1), "module.classifier.weight": torch.zeros(1, 1)}
    torch.save({"arch": "mobilenetv2_cifar", "state_dict": state}, tmp_path / "theirs.pth.tar")
    return folder


def test_zhiqwangs(tmp_path, surroundings, monkeypatch):
    """train.txt and dev.txt of numbers beside images/, and the alphabet, whose first line is class 0's."""
    folder = lay_out_zhiqwangs(tmp_path)
    monkeypatch.chdir(tmp_path)
    desk = Desk(tmp_path, surroundings, D=folder, R="mobilenetv2_cifar", A="D/A.txt", **{"A.txt": folder / "A.txt"})

    def trained_on_numbers(here):
        assert first(here) == "--dataset D"
        desk.run(f"--dataset D {MOBILE}")

    def published(here):
        with pytest.raises(UserError, match="divide the width by 8"):
            desk.run(first(here))

    def resume(_):
        path = desk.trained("last.pt")
        desk.program("models.train", ["--recipe", "mobilenetv2_cifar", "--dataset", str(folder), "--data.charset",
                                      str(folder / "A.txt"), "--resume", str(path)])  # fmt: skip

    def test_only(here):
        desk.meant["FILE"] = str(desk.trained())
        desk.run(first(here))

    def beam(here):
        test, demo = CODE.findall(here)
        desk.program(
            "models.test",
            ["--dataset", str(folder), "--split", "val", "--checkpoint", str(desk.trained()), *test.split()],
        )
        desk.program(
            "models.demo",
            [str(folder / "images" / "00320_dev.jpg"), "--checkpoint", str(desk.trained()), *demo.split()],
        )

    recipe = ["--recipe", "mobilenetv2_cifar"]
    run_rows(desk, "zhiqwang/crnn.pytorch: CNN and CTC", {
        "`--dataset-root D`, `train.txt` with `image 10 10 4 6`": trained_on_numbers,
        "`--arch densenet121 --alphabet A.txt`": lambda here: desk.run(first(here)),
        "`python main.py --dataset-root D --arch mobilenetv2_cifar`":
            lambda here: desk.run(f"{first(here)} --data.charset A.txt"),
        "`--optimizer rmsprop --lr 5e-5 --weight-decay 5e-4`": lambda here: takes(
            "models.train", *recipe, *first(here).split()),
        "the rate times exp(-0.1) after each of 30 epochs": lambda here: takes("models.train", *first(here).split()),
        "the rate in steps": lambda here: desk.run(f"{first(here)} {MOBILE}"),
        "`--not-pretrained`": lambda here: takes(
            "models.train", "--recipe", "densenet121", *first(here).split()),
        "`--height 32 --width 280 --keep-ratio`": lambda here: desk.run(f"{first(here)} {MOBILE}"),
        "`--test-only --resume FILE`": test_only,
        "`--resume FILE`": resume,
        "its published `densenet121` and `mobilenetv2_cifar` weights": published,
        "`utils/beam_search.py`": beam,
    })  # fmt: skip


def test_crnn_tensorflows(tmp_path, surroundings, monkeypatch):
    """labels.txt as its page has it, in Chinese: `data/Train/0/1000173.jpg` and ten characters."""
    data = tmp_path / "shadownet"
    names = [f"data/Train/0/100017{i}.jpg" for i in range(8)]
    images(data, names, width=280)
    texts = ["".join(CHINESE[(i + k * 3) % 40] for k in range(10)) for i in range(8)]
    (data / "labels.txt").write_text("".join(f"{n} {t}\n" for n, t in zip(names, texts, strict=True)), encoding="utf8")
    monkeypatch.chdir(tmp_path)
    lmdb = tmp_path / "LMDB"
    desk = Desk(tmp_path, surroundings, DATA=data, LMDB=lmdb, D=lmdb, C="characters.txt", I=data / names[0])
    figures = {}

    def split(here):
        desk.run(f"{first(here)} --ratio 0.5,0.25,0.25")

    def test(here):
        desk.meant["FILE"] = str(desk.trained())
        desk.run(first(here))
        figures.update(desk.record()["accuracy"])

    def snapshot(here):
        desk.meant["SNAPSHOT"] = str(desk.trained("last.pt"))
        desk.run(f"--recipe crnn_chinese --data.charset characters.txt {first(here)}")

    run_rows(desk, "CRNN_Tensorflow: Chinese dictionaries", {
        "a list of characters": lambda here: takes("models.train", *first(here).split()),
        "`tools/write_tfrecords.py`": split,
        "`--weights_path SNAPSHOT`": snapshot,
        "`tools/evaluate_shadownet.py`": test,
        "per character precision": lambda _: figures["character_precision"] is not None,
        "full sequence accuracy": lambda _: figures["exact_accuracy"] is not None,
        "sequence distance": lambda _: figures["sequence_distance"] is not None,
        "TensorBoard's curves of loss, distance, accuracy": lambda here: desk.run(
            f"--recipe crnn_chinese --data.charset characters.txt {CODE.findall(here)[1]}"),
        "`tools/test_shadownet.py --image_path I`": lambda here: desk.run(
            first(here).replace("--recipe crnn_chinese", f"--checkpoint {desk.trained()}")),
    })  # fmt: skip
    assert (tmp_path / "curves.png").is_file()


def test_sets_of_chinese_lines(tmp_path, surroundings, monkeypatch):
    """The same eight lines as numbers, as PaddleOCR's train and test with its dictionary, and in GBK."""
    known = [c for c in Charset.named("chinese").characters if c >= CHINESE[0]][:40]  # to the shipped weights
    names = [f"{i}084{i}_2726670{i}.jpg" for i in range(8)]
    texts = ["".join(known[(i + k) % 40] for k in range(10)) for i in range(8)]
    codes, lines = tmp_path / "codes", tmp_path / "rec"
    images(codes / "images", names, width=280)
    for split, some, width in (("train", names[:6], 280), ("test", names[6:], 272)):
        images(lines, [f"{split}/{name}" for name in some], width)
        both = list(zip(some, texts, strict=False))
        rows_ = "".join(f"{split}/{name}\t{text}\n" for name, text in both)
        (lines / f"rec_gt_{split}.txt").write_text(rows_, encoding="utf8")
        numbered = [(name, " ".join(str(known.index(c) + 1) for c in text)) for name, text in both]
        (codes / f"{split}.txt").write_text("".join(f"{name} {numbers}\n" for name, numbers in numbered))
    (codes / "alphabet_decode_5990.txt").write_text("\n".join(["blank", *known]) + "\n", encoding="utf8")
    keys = lines / "ppocr_keys_v1.txt"
    keys.write_text("\n".join(known) + "\n", encoding="utf8")
    older = {f"{i}_index": str(ord(c)) for i, c in enumerate(known)}
    (tmp_path / "ord_map.json").write_text(json.dumps(older))
    images(tmp_path / "gbk", names, width=280)
    gbk = "".join(f"{name} {text}\r\n" for name, text in zip(names, texts, strict=True))
    (tmp_path / "gbk" / "labels.txt").write_bytes(gbk.encode("gbk"))
    monkeypatch.chdir(tmp_path)
    shipped = "models/weights/crnn_small_chinese.safetensors"
    desk = Desk(tmp_path, surroundings, CODES=codes, LINES=lines, VAL=lines / "rec_gt_test.txt", GBK=tmp_path / "gbk",
                GBK_LMDB=tmp_path / "lmdb", **{"ppocr_keys_v1.txt": keys, shipped: ROOT / shipped})  # fmt: skip

    def with_a_blank(_):
        keys.write_text("\n".join([*known, " "]) + "\n", encoding="utf8")
        assert Charset.named(str(keys)).characters[-1] == " "

    run_rows(desk, "Sets of Chinese lines", {"PaddleOCR's `use_space_char: True`": with_a_blank})
    assert open_source(tmp_path / "lmdb" / "train", "train").label(0) == texts[0]


def test_bai_shangs(tmp_path, surroundings, monkeypatch):
    """train_list.txt and test_list.txt: a path from the working folder, a blank, ten characters."""
    for split in ("train", "test"):
        names = [f"path/to/your/image/{split}{i}_2726670787.jpg" for i in range(6)]
        images(tmp_path, names, width=280)
        texts = ["".join(CHINESE[(i + k * 3) % 40] for k in range(10)) for i in range(6)]
        rows_ = "".join(f"{n} {t}\n" for n, t in zip(names, texts, strict=True))
        (tmp_path / f"{split}_list.txt").write_text(rows_, encoding="utf8")
    (tmp_path / "characters.txt").write_text("\n".join(CHINESE) + "\n", encoding="utf8")
    torch.save(
        {"cnn.cnn.0.weight": torch.zeros(1, 1), "rnn.1.embedding.weight": torch.zeros(1, 1)}, tmp_path / "encoder.pth"
    )
    monkeypatch.chdir(tmp_path)
    image = tmp_path / "path/to/your/image/test0_2726670787.jpg"
    lists = {"T": "train_list.txt", "V": "test_list.txt", "DATA": "train_list.txt"}
    desk = Desk(tmp_path, surroundings, I=image, FOLDER=tmp_path / "shown", **lists)
    small = "--val-dataset test_list.txt --data.charset characters.txt --model.hidden 16"
    attention = f"--recipe seq2seq_attention {small}"

    def published(here):
        with pytest.raises(UserError, match="the encoder"):
            desk.run(first(here))

    def halves(here):
        start, resume = CODE.findall(here)
        for option, name in ((start, "best.pt"), (resume, "last.pt")):
            desk.meant["FILE"] = str(desk.trained(name))
            desk.run(f"{attention} {option}")

    run_rows(desk, "bai-shang/crnn_seq2seq_ocr.Pytorch: attention", {
        "`train_list.txt`: `path label`": lambda here: desk.run(f"{attention}"),
        "`python train.py --train_list T --eval_list V`": lambda here: desk.run(f"{first(here)} {small}"),
        "a teacher forcing of 0.5": lambda here: desk.run(f"{attention} {first(here)}"),
        "its published `encoder.pth` and `decoder.pth`": published,
        "`--encoder E --decoder D`": halves,
        "`python inference.py --img_path I --encoder E --decoder D`": lambda here: desk.run(
            first(here).replace("--recipe seq2seq_attention", f"--checkpoint {desk.trained()}")),
    })  # fmt: skip
    assert list((tmp_path / "shown").glob("*.png"))
