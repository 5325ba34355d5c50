"""What Cambricon's model zoo and meijieru/crnn.pytorch kept in `util.py` is elsewhere; asking for it says where."""

from __future__ import annotations

from typing import NoReturn

ELSEWHERE = {
    "strLabelConverter": "models.data.charset.Charset: encode_all() and decode()",
    "averager": "the record's training.loss, a value a step; models.training.result.LossHistory",
    "loadData": "models.training.device_batch.to_device",
    "resizePadding": "models.data.image.resize, and models.dataset.pad_batch",
    "assureRatio": "models.data.image.Shape, keep_ratio",
    "oneHot": "torch.nn.functional.one_hot",
}


def __getattr__(name: str) -> NoReturn:
    if name.startswith("__"):
        raise AttributeError(name)
    place = ELSEWHERE.get(name, "the folders of models/, listed in README.md under 'The tree'")
    raise ImportError(f"models/util.py holds nothing here; for {name} see {place}")
