"""Training on what is drawn meanwhile: the whole program on a CPU, for seconds."""

import json
from functools import partial
from itertools import islice

import pytest

from bench.errors import UserError
from models import train_drawn
from models.reading.recogniser import Recogniser
from models.rendering import find_faces
from tests.support.images import noise


@pytest.fixture
def texts(tmp_path):
    file = tmp_path / "words.txt"
    file.write_text("cab\nabba\nharbour\n")
    return file


def test_words_are_drawn_learned_and_saved(tmp_path, texts, monkeypatch, capsys):
    monkeypatch.setattr(train_drawn, "HELD", 1)
    monkeypatch.setattr(train_drawn, "average", partial(train_drawn.average, batches=2))
    monkeypatch.setattr(train_drawn, "REPORT_S", 0.1)
    out = tmp_path / "out"
    train_drawn.main(
        ["--texts", str(texts), "--out", str(out), "--style", "plain", "--seconds", "2", "--first", "1024",
         "--batch-size", "32", "--workers", "1", "--device", "cpu"]
    )  # fmt: skip
    about = json.loads((out / "training.json").read_text())
    told = about["recipes"]["crnn_small"]
    assert (told["images"] >= 32 and told["steps"] == len(told["history"])) or told["steps"] >= 1
    assert told["unseen"]["mean"]["of"] == train_drawn.HELD * 256 and about["drawn"] >= 1024
    reader = Recogniser.load(out / "crnn_small.safetensors", device="CPU", views=False)
    assert isinstance(reader(noise()).text, str) and told["kept"] in told["unseen"]
    assert "unseen ones read" in capsys.readouterr().out


def test_what_cannot_learn_side_by_side_is_refused(tmp_path, texts):
    for wrong, reason in (
        (["--recipes", "crnn_small,crnn_chinese"], "one alphabet"),
        (["--start-from", "a.pt,b.pt"], "2 files for 1 recipes"),
        (["--style", "quick"], "no style"),
        (["--recipes", "crnn_small_chinese", "--style", "street"], "draws marks to be ignored"),
        (["--texts", "/dev/null"], "no texts"),
    ):
        with pytest.raises(UserError, match=reason):
            train_drawn.main(["--texts", str(texts), "--out", str(tmp_path / "out"), *wrong])


def test_the_learning_rate_rises_and_falls():
    rates = [train_drawn.learning_rate(1.0, share) for share in (0, 0.015, 0.03, 0.5, 1)]
    assert rates[0] < rates[1] < rates[2] == pytest.approx(1) and rates[2] > rates[3] > rates[4] == pytest.approx(0.01)


def test_texts_are_classes_in_the_bucket_of_their_width():
    from models.data.charset import Charset
    from models.rendering.sample import Look
    from models.rendering.stream import Bucket, Drawing

    charset, buckets = Charset.named("36"), (Bucket(44, 64), Bucket(float("inf"), 128))
    look = Look(find_faces("bundled"), 1, "plain", "lower")
    drawing = Drawing(["i", "harbour"], (look,), (1.0,), charset, buckets)
    for place, image, classes in islice(drawing.draw(3), 40):
        text = charset.decode(classes)
        assert text in ("i", "harbour") and image.shape == (32, buckets[place].width)
        assert place == (text == "harbour")
    first, again = ([classes for _, _, classes in islice(drawing.draw(3), 10)] for _ in range(2))
    assert first == again
