"""POST /recognise?detect=1: the lines of whole photos, with a stand-in for the detector's package."""

from __future__ import annotations

import os

import pytest

from tests.support import ROOT
from tests.support.checkpoints import saved
from tests.support.images import encoded, noise
from tests.support.service import as_body, as_form, served

requests = pytest.importorskip("requests")
STAND_IN = """
import os
from types import SimpleNamespace
import numpy as np
if not os.path.exists({flag!r}):
    raise ImportError("No module named 'rapidocr'")
class RapidOCR:
    def __init__(self, params):
        pass
    def __call__(self, image, **how):
        assert image.ndim == 3 and how == dict(use_det=True, use_cls=False, use_rec=False)
        boxes = [[[10, 60], [90, 60], [90, 80], [10, 80]], [[10, 10], [110, 10], [110, 40], [10, 40]]]
        return SimpleNamespace(boxes=np.array(boxes) if image.shape[0] > 90 else None)
"""


def test_lines_are_found_read_and_placed(tmp_path):
    flag = tmp_path / "installed"
    (tmp_path / "rapidocr.py").write_text(STAND_IN.format(flag=str(flag)))
    page, blank = encoded(noise(100, 160)), encoded(noise(80, 160))
    with served(saved(tmp_path), env={"PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}) as (_, url):

        def ask(**request):
            return requests.post(f"{url}/recognise?detect=1", timeout=60, **request)

        refused = ask(**as_body(page))
        assert refused.status_code == 422 and "requirements-detect.txt" in refused.json()["detail"]
        flag.touch()
        answer = ask(**as_form(page, blank))
        assert answer.status_code == 200, answer.text
        lines = answer.json()["results"]
        assert [line["name"] for line in lines] == ["0.png", "0.png"]  # there is nothing on the second image
        assert [line["box"][:2] for line in lines] == [[10, 10], [10, 60]]
        assert all(len(line["box"]) == 8 and 0 <= line["confidence"] <= 1 for line in lines)
        assert ask(**as_body(b"no image")).status_code == 422
        plain = requests.post(f"{url}/recognise", timeout=60, **as_body(page)).json()["results"]
        assert len(plain) == 1 and plain[0]["box"] is None
