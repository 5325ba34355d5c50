"""The warnings by which torch says that an operator ran on the host."""

import warnings

from bench.machine import fallbacks

SENTENCE = "The operator 'aten::{}' is not currently supported on the MLU backend and will fall back to run on the CPU."


def test_each_operator_is_kept_and_shown_once_even_where_warnings_are_off():
    names = []
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("ignore")
        fallbacks.record_fallbacks(names)
        for operator in ("nanmedian", "softshrink", "nanmedian"):
            warnings.warn(SENTENCE.format(operator), stacklevel=1)
    assert names == ["aten::nanmedian", "aten::softshrink"]
    assert len(shown) == 2


def test_other_warnings_pass():
    names = []
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        fallbacks.record_fallbacks(names)
        warnings.warn("lr_scheduler.step() before optimizer.step()", stacklevel=1)
    assert (names, len(shown)) == ([], 1)
