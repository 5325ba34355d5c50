"""A test without a checkpoint reads with the weights that come with the repository, for their recipe alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from models import weights
from models.data.charset import Charset
from models.run.options import Infer, parse
from models.run.trained import find_shipped
from models.weights import checkpoint

SHIPPED = {name: checkpoint.read(weights.path(name)) for name in weights.SHIPPED}


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_weights_serve_their_recipe(name):
    """Also after the network has got an option that their file does not know."""
    recipe, charset = SHIPPED[name]["recipe"], Charset(SHIPPED[name]["charset"])
    options = parse(Infer, ["--recipe", recipe], "models.test")
    assert find_shipped(options, charset) == weights.path(name)


def test_shipped_weights_do_not_serve_another_network_or_shape():
    charset = Charset(SHIPPED["crnn_small"]["charset"])
    options = parse(Infer, ["--recipe", "crnn_small"], "models.test")
    for other in (
        replace(options, model=replace(options.model, hidden=8)),
        replace(options, model=replace(options.model, head_rank=3)),
        replace(options, data=replace(options.data, width=128)),
    ):
        assert find_shipped(other, charset) is None
