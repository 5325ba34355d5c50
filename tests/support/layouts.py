"""A small data set in every layout that is read. Each maker fills a folder and gives the texts in order."""

from __future__ import annotations

import csv
import json

from tests.support.data_samples import WORDS, make_store, make_tree
from tests.support.images import jpeg

TEXTS = ["Alpha", "two words", 'quo"te', "comma, too"]


def write_images(folder, names):
    for seed, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(jpeg(seed=seed))


def make_tab(root):
    write_images(root, [f"images/{i}.jpg" for i in range(4)])
    (root / "labels.tsv").write_bytes("\r\n".join(f"images/{i}.jpg\t{t}" for i, t in enumerate(TEXTS)).encode())
    return TEXTS


def make_space(root):
    write_images(root, ["a_b.jpg", "c.jpg"])
    (root / "gt.txt").write_text("\ufeffa_b.jpg Alpha\nc.jpg 42\n", encoding="utf-8")
    return ["Alpha", "42"]


def make_icdar(root):
    write_images(root, [f"word_{i}.png" for i in range(4)])
    lines = [f'word_{i}.png, "{t}"' for i, t in enumerate(text.replace('"', '\\"') for text in TEXTS)]
    (root / "gt.txt").write_bytes(b"\xef\xbb\xbf" + "\r\n".join(lines).encode())
    return TEXTS


def make_bare_icdar(root):
    write_images(root, ["word_1.png", "word_2.png"])
    (root / "gt.txt").write_text("word_1.png, JOINT\nword_2.png, a,b\n")
    return ["JOINT", "a,b"]


def make_integers(root):
    write_images(root / "images", ["1.jpg", "2.jpg"])
    (root / "train.txt").write_text("1.jpg 1 2 2\n2.jpg 3 4 1\n")
    (root / "alphabet.txt").write_text("ab# \n")
    return ["abb", "# a"]


def make_iam(root):
    rows = [("a01-000u-00-00", "ok", "A"), ("a01-000u-00-01", "err", "MOVE"), ("b02-011-01-02", "ok", "to stop")]
    write_images(root, [f"words/{i[:3]}/{i.rsplit('-', 2)[0]}/{i}.png" for i, _, _ in rows])
    lines = [f"{i} {verdict} 154 408 768 27 51 AT {text}" for i, verdict, text in rows]
    (root / "words.txt").write_text("#--- words.txt ---#\n#\n# format: ...\n" + "\n".join(lines) + "\n")
    return ["A", "to stop"]


def make_mmocr(root):
    write_images(root, ["imgs/a.jpg", "imgs/b.jpg"])
    entries = [{"img_path": f"imgs/{n}.jpg", "instances": [{"text": t}]} for n, t in (("a", "x"), ("b", "yé"))]
    meta = {"dataset_type": "TextRecogDataset", "task_name": "textrecog"}
    (root / "train.json").write_text(json.dumps({"metainfo": meta, "data_list": entries}))
    return ["x", "yé"]


def make_doctr(root):
    write_images(root / "images", ["a.jpg", "b.png"])
    (root / "labels.json").write_text(json.dumps({"a.jpg": "x", "b.png": "two words"}))
    return ["x", "two words"]


def make_json(root):
    write_images(root, ["a.jpg", "b.jpg"])
    entries = [{"image": "a.jpg", "text": "x"}, {"image": "b.jpg", "text": "two words"}]
    (root / "export.json").write_text(json.dumps(entries))
    return ["x", "two words"]


def make_jsonl(root):
    write_images(root, ["a.jpg", "b.jpg"])
    lines = [{"filename": "a.jpg", "text": "x"}, {"filename": "b.jpg", "text": "two words"}]
    (root / "label.jsonl").write_text("\n".join(map(json.dumps, lines)))
    return ["x", "two words"]


def make_csv(root):
    write_images(root, [f"{i}.jpg" for i in range(4)])
    with (root / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows([f"{i}.jpg", text] for i, text in enumerate(TEXTS))
    return TEXTS


def make_names(root):
    write_images(root, ["Alpha_1.jpg", "deep/two_words_22.jpg"])
    return ["Alpha", "two_words"]


def make_nested_lmdbs(root):
    make_store(root / "MJ", ["a", "b"])
    make_store(root / "ST/deep", ["c"])
    return ["a", "b", "c"]


MAKERS = {
    "tab": make_tab,
    "space": make_space,
    "icdar": make_icdar,
    "integers": make_integers,
    "csv": make_csv,
    "json": make_json,
    "jsonl": make_jsonl,
    "iam": make_iam,
    "mmocr": make_mmocr,
    "doctr": make_doctr,
    "names": make_names,
    "lmdbs": make_nested_lmdbs,
    "lmdb": lambda root: make_store(root) and WORDS,
    "synth90k": lambda root: make_tree(root) and WORDS,
}
