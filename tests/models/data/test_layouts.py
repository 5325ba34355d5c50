"""Data sets as their owners' documentation lays them out: the right labels, or one line with file, line and remedy.

Each row of LAYOUTS cites where the layout is described; a row of REFUSED is what people point at that cannot be read.
"""

import codecs
import json
import shutil
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.errors import UserError
from models.data.files import DataError
from models.data.formats import SourceOptions
from models.data.opening import open_source, own_splits
from models.data.rows import with_location
from tests.support.data_samples import make_store
from tests.support.images import jpeg

WORDS = ["one", "two", "New York", "v\u00e9lo"]
PADDLE = "https://github.com/PaddlePaddle/PaddleOCR/blob/release/2.4/doc/doc_en/recognition_en.md"
MMOCR_0 = "https://github.com/open-mmlab/mmocr/blob/v0.6.3/docs/en/datasets/recog.md"
MMOCR_1 = "https://mmocr.readthedocs.io/en/dev-1.x/basic_concepts/datasets.html"
DTRB = "https://github.com/clovaai/deep-text-recognition-benchmark#when-you-need-to-train-on-your-own-dataset"
EASYOCR = "https://github.com/JaidedAI/EasyOCR/blob/master/trainer/dataset.py"
TRDG = "https://github.com/Belval/TextRecognitionDataGenerator#output-file-name-formats"
DOCTR = "https://github.com/mindee/doctr/tree/main/references/recognition#custom-dataset"
ICDAR = "https://rrc.cvc.uab.es/?ch=4&com=tasks#TaskRecognition"
IAM = "https://fki.tic.heia-fr.ch/databases/iam-handwriting-database"
TENSORFLOW = "https://github.com/MaybeShewill-CV/CRNN_Tensorflow#train-model"
ZHIQWANG = "https://github.com/zhiqwang/crnn.pytorch#data-preparation"
CHINESE_OCR = "https://github.com/YCG09/chinese_ocr#训练"
HUGGING_FACE = "https://huggingface.co/docs/datasets/image_dataset#imagefolder"
ATTENTION = "https://github.com/emedvedev/attention-ocr#create-a-dataset"
PANDAS = "https://pandas.pydata.org/docs/reference/api/pandas.DataFrame.to_csv.html"
LABEL_STUDIO = "https://labelstud.io/guide/export#JSON-MIN"
MJSYNTH = "https://www.robots.ox.ac.uk/~vgg/data/text/"

NUMBERED = [f"word_{i:03d}.png" for i in range(1, 5)]
PUBLIC_LIST = " \n\uff0c\n\u7684\n\uff0c\n"  # begins with the blank's line and repeats a character
ROWS = list(zip(NUMBERED, WORDS, strict=True))


def put(root, lists, images=NUMBERED, encoding="utf-8"):
    """Images with these paths, and lists with these contents."""
    for seed, path in enumerate(images):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(jpeg(seed=seed))
    for name, content in lists.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content if isinstance(content, bytes) else content.encode(encoding))


def lines(separator, folder="", words=WORDS, end="\n"):
    return "".join(f"{folder}{name}{separator}{word}{end}" for name, word in zip(NUMBERED, words, strict=False))


def below(folder, names=NUMBERED):
    return [f"{folder}/{name}" for name in names]


def objects(path, text, folder=""):
    return [{path: folder + name, text: word} for name, word in zip(NUMBERED, WORDS, strict=True)]


def mmocr(folder):
    entries = [{"img_path": folder + n, "instances": [{"text": w}]} for n, w in zip(NUMBERED, WORDS, strict=True)]
    return json.dumps({"metainfo": {"task_name": "textrecog"}, "data_list": entries})


BOXES = ["a01-000u-00-00 ok 154 408 768 27 51 AT one", "a01-000u-00-01 err 154 408 768 27 51 AT no"]

# What it is: (source, lists, images, where to point below the root, split, labels)
LAYOUTS = {
    "PaddleOCR, paths from the project": (
        PADDLE, {"train_data/rec/rec_gt_train.txt": lines("\t", "train_data/rec/train/")},
        below("train_data/rec/train"), "train_data/rec", "train", WORDS),
    "PaddleOCR's icdar2015, test": (
        PADDLE, {"rec_gt_train.txt": lines("\t", "train/"), "rec_gt_test.txt": "test/word_001.png\tdrei\n"},
        [*below("train"), "test/word_001.png"], ".", "test", ["drei"]),
    "PaddleOCR's train_list.txt and val_list.txt": (
        PADDLE, {"train_list.txt": lines("\t", "a/"), "val_list.txt": "a/word_001.png\tx\n"},
        below("a"), ".", "train", WORDS),
    "MMOCR 0.x, train_label.txt": (
        MMOCR_0, {"train_label.txt": lines(" ", "train_words/"), "test_label.txt": "image/t.jpg x\n"},
        [*below("train_words"), "image/t.jpg"], ".", "train", WORDS),
    "MMOCR 0.x, label.jsonl": (
        MMOCR_0, {"label.jsonl": "\n".join(map(json.dumps, objects("filename", "text")))},
        NUMBERED, ".", "train", WORDS),
    "MMOCR 1.x, textrecog_train.json": (
        MMOCR_1, {"textrecog_train.json": mmocr("textrecog_imgs/train/"), "textrecog_test.json": mmocr("none/")},
        below("textrecog_imgs/train"), ".", "train", WORDS),
    "DTRB's gt.txt beside test/": (
        DTRB, {"gt.txt": lines("\t", "test/")}, below("test"), ".", "train", WORDS),
    "DTRB's gt.txt with blanks": (DTRB, {"gt.txt": lines(" ", "test/")}, below("test"), ".", "train", WORDS),
    "EasyOCR's labels.csv": (
        EASYOCR, {"en_train/labels.csv": "filename,words\nword_001.png,one\nword_002.png,a, b\n"},
        below("en_train"), "en_train", "train", ["one", "a, b"]),
    "TRDG's labels.txt": (TRDG, {"labels.txt": lines(" ")}, NUMBERED, ".", "train", WORDS),
    "TRDG's names": (TRDG, {}, ["one_0.jpg", "two_1.jpg"], ".", "train", ["one", "two"]),
    "TRDG's names, another list above": (
        TRDG, {"o.csv": "photo.png,1\n"}, below("set", ["one_0.jpg", "two_1.jpg"]), "set", "train", ["one", "two"]),
    "docTR's labels.json": (
        DOCTR, {"train/labels.json": json.dumps(dict(zip(NUMBERED, WORDS, strict=True)))},
        below("train/images"), ".", "train", WORDS),
    "ICDAR 2013 and 2015, gt.txt": (
        ICDAR, {"gt.txt": codecs.BOM_UTF8 + "".join(f'{n}, "{w}"\r\n' for n, w in ROWS).encode()},
        NUMBERED, ".", "train", WORDS),
    "ICDAR's backslashes": (
        ICDAR, {"gt.txt": 'word_001.png, "say \\"hi\\""\nword_002.png, "a, b"\n'},
        NUMBERED, ".", "train", ['say "hi"', "a, b"]),
    "IAM's words.txt": (
        IAM, {"words.txt": "#--- words.txt ---#\n#\n" + "\n".join(BOXES) + "\n"},
        ["words/a01/a01-000u/a01-000u-00-00.png"], ".", "train", ["one"]),
    "CRNN_Tensorflow's annotation_train.txt": (
        TENSORFLOW, {"annotation_train.txt": lines(" "), "annotation_test.txt": "word_001.png x\n", "lexicon.txt": "a"},
        NUMBERED, ".", "train", WORDS),
    "CRNN_Tensorflow's sample.txt in Train/": (
        TENSORFLOW, {"Train/sample.txt": lines(" "), "Test/sample.txt": "word_001.png x\n"},
        [*below("Train"), "Test/word_001.png"], ".", "train", WORDS),
    "zhiqwang's train.txt and dev.txt": (
        ZHIQWANG, {"train.txt": "word_001.png 4 2 1\n", "dev.txt": "word_002.png 3 3\n", "alphabet_decode.txt": "",
                   "alphabet.txt": "a\nb\nc\nd\n"},
        below("images"), ".", "val", ["cc"]),
    "chinese_ocr's codes and char_std_5990.txt": (
        CHINESE_OCR, {"train.txt": "word_001.png 1 3 2\nword_002.png 2 2\n", "char_std_5990.txt": PUBLIC_LIST},
        NUMBERED, ".", "train", ["\uff0c\uff0c\u7684", "\u7684\u7684"]),
    "attention-ocr's list, three blanks": (ATTENTION, {"data.txt": lines("   ")}, NUMBERED, ".", "train", WORDS),
    "Hugging Face's metadata.jsonl": (
        HUGGING_FACE, {"train/metadata.jsonl": "\n".join(map(json.dumps, objects("file_name", "text")))},
        below("train"), ".", "train", WORDS),
    "Hugging Face's metadata.csv": (
        HUGGING_FACE, {"train/metadata.csv": "file_name,text\n" + lines(",")}, below("train"), ".", "train", WORDS),
    "pandas' TSV with its index": (
        PANDAS, {"labels.tsv": "\tfilename\ttext\n0\tword_001.png\tone\n1\tword_002.png\t\"say \"\"hi\"\"\"\n"},
        NUMBERED, ".", "train", ["one", 'say "hi"']),
    "a spreadsheet's CSV with semicolons": (
        PANDAS, {"labels.csv": 'word_001.png;1,5\nword_002.png;"a;b"\n'}, NUMBERED, ".", "train", ["1,5", "a;b"]),
    "Excel's Unicode Text": (
        PANDAS, {"labels.txt": codecs.BOM_UTF16_LE + lines("\t", end="\r\n").encode("utf-16-le")},
        NUMBERED, ".", "train", WORDS),
    "Label Studio's short JSON": (
        LABEL_STUDIO, {"export.json": json.dumps(objects("image", "transcription"))}, NUMBERED, ".", "train", WORDS),
    "MJSynth's own tree": (
        MJSYNTH, {"90kDICT32px/annotation_train.txt": "./1/2/0_ONE_1.jpg 1\n", "90kDICT32px/lexicon.txt": "0\none\n"},
        ["90kDICT32px/1/2/0_ONE_1.jpg"], ".", "train", ["one"]),
    "a list with a Mac's hidden files about": (
        PADDLE, {"labels.tsv": lines("\t"), "._labels.tsv": "\0\5\26\7", "__MACOSX/labels.tsv": "\0"},
        [*NUMBERED, "._word_001.png"], ".", "train", WORDS),
    "comments, blank lines, ends of labels": (
        PADDLE, {"labels.tsv": "# file\t# text\n\n  \nword_001.png\t one \r\nword_002.png\ttwo\u3000"},
        NUMBERED, ".", "train", ["one", "two"]),
    "Train, Val and Test": (
        PADDLE, {f"{s}/gt.txt": f"word_001.png\t{s}\n" for s in ("Train", "Val", "Test")},
        [f"{s}/word_001.png" for s in ("Train", "Val", "Test")], ".", "val", ["Val"]),
}  # fmt: skip


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_layout_gives_its_owners_labels(name, tmp_path):
    source, lists, images, place, split, labels = LAYOUTS[name]
    assert source.startswith("https://")
    put(tmp_path, lists, images)
    opened = open_source(tmp_path / place, split)
    assert [opened.label(i) for i in range(len(opened))] == labels
    assert all(bytes(opened.encoded(i))[:2] == b"\xff\xd8" for i in range(len(opened)))


def test_there_are_as_many_as_were_promised():
    assert len(LAYOUTS) >= 25


TAR = {"mjsynth.tar.gz": b"x"}
REFUSED = {
    "an archive": (TAR, [], "mjsynth.tar.gz is an archive: unpack it"),
    "images without labels": ({}, NUMBERED, "every label would be 'word'.*image.png<TAB>label"),
    "numbers that may be labels or counters": ({}, ["0_4711.png", "1_4712.png"], "may begin with its label or"),
    "a list near images that are called by numbers": (
        {"labels.txt": "word_001\tone\nword_002\ttwo\n"}, NUMBERED, r"labels.txt: line 1: .* names no image file"),
    "names that could be labels beside a list that is none": (
        {"labels.txt": "uno_1\tone\n"}, ["uno_1.jpg", "dos_2.jpg"], r"labels.txt: line 1: .* names no image file"),
    "names that could be labels below a list of another folder": (
        {"set/gt.txt": "x/uno_1.jpg\tone\n"}, ["set/train/uno_1.jpg", "set/train/dos_2.jpg"],
        r"gt.txt is near and not understood.*--format names", "set/train"),
    "a list two folders below, and a dictionary": (
        {"ppocr_keys_v1.txt": "o\nn\ne\n", "train_data/rec/rec_gt_train.txt": lines("\t")},
        [f"train_data/rec/{name}" for name in NUMBERED], "in it itself; a list lies in .*train_data/rec: name"),
    "two lists": ({"a.tsv": lines("\t"), "b.csv": lines(",")}, NUMBERED, r"several lists \(a.tsv, b.csv\)"),
    "an empty list": ({"labels.tsv": ""}, [], "labels.tsv: no lines in it"),
    "a list of which half is of a shape": (
        {"labels.tsv": "word_001.png\tone\nword_002.png two\n"}, NUMBERED,
        r"labels.tsv: 1 of the 2 lines looked at are of the format \w+; line [12]: '"),
    "three columns without names": (
        {"labels.csv": "".join(f"{n},Latin,{w}\n" for n, w in zip(NUMBERED, WORDS, strict=True))}, NUMBERED,
        "labels.csv: line 1 has 3 columns: which is the label"),
    "PaddleOCR's detection labels": (
        {"Label.txt": "".join(f'{n}\t[{{"transcription": "a", "points": []}}]\n' for n in NUMBERED)}, NUMBERED,
        "PaddleOCR's of text detection"),
    "tesstrain's a.png and a.gt.txt": (
        {"uno_1.gt.txt": "one\n", "dos_2.gt.txt": "two\n"}, ["uno_1.png", "dos_2.png"],
        r"\w+.gt.txt: line 1: '\w+' names no image file; a list has a line"),
    "PaddleOCR's several images of one label": (
        {"train.txt": '["word_001.png", "word_002.png"]\tone\n'}, NUMBERED,
        r"train.txt: line 1: '\[.* is not an image and its label|holds two images"),
    "a phone's photos": ({"labels.csv": "IMG_1.HEIC,one\nIMG_2.HEIC,two\n"}, ["IMG_1.HEIC", "IMG_2.HEIC"],
        "labels.csv: line 1: .* names a HEIC, which is not read: save it as JPEG"),
    "pairs of images": ({"pairs.txt": "".join(f"{n}\tmask/{n}\n" for n in NUMBERED)}, NUMBERED,
        "pairs.txt: its labels are names of images"),
    "rows that lost their ends": (
        {"labels.txt": "word_001.png oneword_002.png two\nword_003.png three word_004.png four\n"}, NUMBERED,
        r"labels.txt: line 1: .* holds two images: is the end of a line missing\?"),
    "codes without their characters": ({"train.txt": "word_001.png 10 11\nword_002.png 3 4\n"}, NUMBERED, "--codes"),
    "digits that may be codes": (
        {"train.txt": "word_001.png 1\nword_002.png 2\n", "alphabet.txt": "a\nb\n"}, NUMBERED, "--format integers, or"),
    "UTF-16 without its mark": ({"labels.txt": lines("\t").encode("utf-16-le")}, NUMBERED, "UTF-16.*--encoding"),
    "another encoding": ({"labels.txt": lines("\t").encode("latin-1")}, NUMBERED, "not utf-8.*--encoding gb18030"),
    "JSON that is cut": ({"labels.json": '{"a.png": '}, [], "labels.json: not JSON"),
    "JSON of something else": ({"labels.json": '{"a": 1}'}, [], "labels.json: JSON without a list of images"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_read_is_one_line_with_the_remedy(name, tmp_path):
    lists, images, said, *place = REFUSED[name]
    put(tmp_path, lists, images)
    with pytest.raises(UserError, match=said) as refused:
        open_source(tmp_path.joinpath(*place), "train")
    assert "\n" not in str(refused.value)


def test_a_missing_split_is_named_with_those_that_are_there(tmp_path):
    put(tmp_path, {"train.txt": lines("\t"), "dev.txt": lines("\t")})
    assert own_splits(tmp_path, SourceOptions()) == ("train", "val")
    with pytest.raises(DataError, match=r"no test split in it; there are train \(train.txt\) and val \(dev.txt\)"):
        open_source(tmp_path, "test")


def test_where_val_alone_is_missing_the_message_says_how_to_train(tmp_path):
    """The Chinese sets of 360CC, PaddleOCR and CRNN_Tensorflow are train and test."""
    put(tmp_path, {"rec_gt_train.txt": lines("\t"), "rec_gt_test.txt": lines("\t")})
    with pytest.raises(
        DataError, match=r"no val split in it.*--val-dataset \S+/rec_gt_test.txt.*--ratio 0.9,0.1,0"
    ) as refused:
        open_source(tmp_path, "val")
    assert "\n" not in str(refused.value)


def test_a_dictionary_beside_a_list_is_no_list(tmp_path):
    put(tmp_path, {"labels.txt": lines("\t"), "ppocr_keys_v1.txt": "o\nn\n", "char_dict.json": '{"111": "o"}'})
    assert [open_source(tmp_path, "train").label(i) for i in range(len(WORDS))] == WORDS


def test_training_never_takes_what_is_called_test(tmp_path):
    put(tmp_path, {"textrecog_test.json": mmocr("")})
    with pytest.raises(DataError, match="no train split in it"):
        open_source(tmp_path, "train")


def test_a_set_is_called_as_its_folder_and_not_as_its_split(tmp_path):
    put(tmp_path / "words", {"test/gt.txt": lines("\t"), "train/gt.txt": lines("\t")}, below("test"))
    make_store(tmp_path / "stores" / "test")
    assert open_source(tmp_path / "words", "test").name == "words"
    assert open_source(tmp_path / "stores", "test").name == "stores"


def test_absolute_paths_and_an_image_root(tmp_path):
    put(tmp_path / "set", {}, NUMBERED)
    put(tmp_path / "lists", {"inside.tsv": lines("\t", f"{tmp_path}/set/"), "up.tsv": lines("\t", "../set/")}, [])
    shutil.copy(tmp_path / "lists/inside.tsv", tmp_path / "set/labels.tsv")
    assert open_source(tmp_path / "set", "train").encoded(0)[:2] == b"\xff\xd8"
    for name in ("inside", "up"):
        path = tmp_path / "lists" / f"{name}.tsv"
        with pytest.raises(DataError, match=r"leads out of the data set.*--image-root"):
            open_source(path, "train").encoded(0)
        assert open_source(path, "train", SourceOptions(image_root=str(tmp_path))).encoded(0)[:2] == b"\xff\xd8"
        with pytest.raises(DataError, match="leads out"):
            open_source(path, "train", SourceOptions(image_root=str(tmp_path / "lists"))).encoded(0)
    with pytest.raises(DataError, match="no such folder"):
        SourceOptions(image_root=str(tmp_path / "nowhere"))


# What images are called: so that the name could be a label, so with a blank, by numbers alone.
CALLED = ["{0}_{1}.jpg", "{0} {0}_{1}.PNG", "{1}.jpeg"]
SPANISH = ["uno", "dos", "tres", "cuatro"]
WORDS_OF_ROWS = ["one", "a b", "x,y", 'say "hi"', "\u4f60\u597d", "\u00e9t\u00e9"] * 5
ENCODINGS = [
    "utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "gb18030", "big5", "shift_jis", "euc_kr",
    "cp1252", "latin-1",
]  # fmt: skip
SEPARATORS = ["\t", " ", ",", ";", "|", "", "\t\t", "    ", "\u3000", ", "]
BEFORE = ["\ufeff", "\n", "  \n", "# note\n", "filename\ttext\n", "nothing\n", "\u2028", "\0", "\x1b", "/", "../"]
DAMAGES = {
    "another separator": lambda row: row.name + row.separator + quoted(row.word, row.separator) + row.end,
    "something before": lambda row: row.before + row.whole + row.end,
    "cut": lambda row: row.whole[: row.place] + row.end,
    "a character more": lambda row: row.whole[: row.place] + "\u00df" + row.whole[row.place :] + row.end,
    "its end is lost": lambda row: row.whole,
    "twice": lambda row: (row.whole + row.end) * 2,
    "gone": lambda row: "",
    "columns swapped": lambda row: quoted(row.word, row.usual) + row.usual + row.name + row.end,
    "a third column": lambda row: row.whole + row.usual + "more" + row.end,
    "no name": lambda row: row.usual + row.word + row.end,
    "no label": lambda row: row.name + row.usual + row.end,
    "no image's ending": lambda row: row.name + ".txt" + row.usual + row.word + row.end,
    "another case": lambda row: row.whole.replace(row.name, row.name.swapcase()) + row.end,
}


def encodes(text, encoding):
    return text.encode(encoding, "ignore").decode(encoding) == text


def quoted(word, separator):
    return '"' + word.replace('"', '""') + '"' if separator[:1] in (",", ";") else word


@dataclass
class DamagedRow:
    """A row of a list, and what is done to it."""

    name: str
    word: str
    usual: str  # separator
    end: str
    how: str | None = None
    separator: str = ""
    before: str = ""
    at: int = 0

    @property
    def whole(self):
        return self.name + self.usual + quoted(self.word, self.usual)

    @property
    def place(self):
        return self.at % (len(self.whole) + 1)

    @property
    def text(self):
        return DAMAGES[self.how](self) if self.how else self.whole + self.end

    def may_say(self, label):
        """Whether a label is the truth or, as nobody can know better, what the damaged row has beside the name."""
        rest = self.text.replace(self.name, "", 1)
        said = bool(self.how) and (label in rest or label in rest.replace('""', '"'))
        return label == self.word or (said and not any(part in label for part in [*SPANISH, ".jpg", ".PNG", ".jpeg"]))


@pytest.fixture(scope="module", params=CALLED)
def listed(request, tmp_path_factory):
    """A folder of images, and their names in the order of the list."""
    folder = tmp_path_factory.mktemp("damaged")
    names = [request.param.format(SPANISH[i % 4], i) for i in range(len(WORDS_OF_ROWS))]
    for seed, name in enumerate(names):
        (folder / name).write_bytes(jpeg(seed=seed))
    return folder, names


def read_images(folder):
    """(name of the image, its label) of what can be used, and why the rest cannot be."""
    names = {path.read_bytes(): path.name for path in folder.iterdir() if path.suffix != ".txt"}
    try:
        source = open_source(folder, "train")
    except UserError as refused:
        return [], [str(refused)]
    assert source.name == folder.name and "labels.txt" in source.how
    read, refusals = [], []
    for index in range(len(source)):
        try:
            read.append((names[bytes(source.encoded(index))], source.label(index)))
        except UserError as refused:
            refusals.append(with_location(str(refused), source.where(index)))
    return read, refusals


@given(
    usual=st.sampled_from(["\t", " ", ",", ";", "   "]),
    end=st.sampled_from(["\n", "\r\n"]),
    encoding=st.sampled_from(ENCODINGS),
    kept=st.integers(1, len(WORDS_OF_ROWS)),
    damages=st.dictionaries(
        st.integers(0, len(WORDS_OF_ROWS) // 2).map(lambda i: 2 * i),  # no neighbours: two damages may look like a row
        st.fixed_dictionaries({
            "how": st.sampled_from(sorted(DAMAGES)),
            "separator": st.sampled_from(SEPARATORS),
            "before": st.sampled_from(BEFORE),
            "at": st.integers(0, 40),
        }),
        max_size=12,
    ),
)  # fmt: skip
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_damaged_list_gives_right_labels_or_a_refusal(listed, usual, end, encoding, kept, damages):
    """Whatever happens to lines, separators and encoding: no label is wrong, and none comes from a file's name."""
    folder, names = listed
    there = [(name, word) for name, word in zip(names, WORDS_OF_ROWS, strict=True) if encodes(word, encoding)][:kept]
    rows = {name: DamagedRow(name, word, usual, end, **damages.get(i, {})) for i, (name, word) in enumerate(there)}
    written = [row.text for row in rows.values() if encodes(row.text, encoding)]
    (folder / "labels.txt").write_bytes("".join(written).encode(encoding))
    read, refusals = read_images(folder)
    assert all("labels.txt" in refused and "\n" not in refused for refused in refusals)
    assert [(name, label) for name, label in read if not rows[name].may_say(label)] == []
