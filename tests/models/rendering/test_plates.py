"""Number plates: characters of one size, the dot of the text alone, a view that leaves them readable."""

from __future__ import annotations

import numpy as np

from models.rendering import find_faces
from models.rendering.plates import TALL, emboss, frame, plates

DEJAVU = next(face for face in find_faces() if face.name == "DejaVuSans-Bold")


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def columns(mask: np.ndarray) -> list[int]:
    """Widths of what stands apart."""
    inked = np.flatnonzero(np.diff(np.pad((mask > 60).any(axis=0).astype(int), 1)))
    return (inked[1::2] - inked[::2]).tolist()


def test_characters_are_as_high_and_wide_as_one_another_but_for_an_i():
    for seed in range(20):
        mask = emboss("ABDIH", rng(seed), DEJAVU)
        a, b, d, i, h = columns(mask)
        assert len(mask) == TALL
        assert max(a, b, d, h) - min(a, b, d, h) <= 5
        assert i < a / 1.3


def test_the_texts_dot_is_drawn_and_no_other():
    assert len(columns(emboss("AB·CD", rng(), DEJAVU))) == len(columns(emboss("ABCD", rng(), DEJAVU))) + 1


def test_a_frame_hides_nothing():
    mask = emboss("AB·12345", rng(), DEJAVU)
    framed = [frame(mask, rng(seed)) for seed in range(60)]
    for one in framed:
        top, left = ((n - m) // 2 for n, m in zip(one.shape, mask.shape, strict=True))
        assert np.array_equal(one[top : top + mask.shape[0], left : left + mask.shape[1]], mask)
    lines = [((one[:9] == 255).mean(axis=1) > 0.9).any() for one in framed]
    assert 30 < sum(lines) < 57


def test_a_plate_is_as_high_as_a_line_and_has_contrast():
    for seed in range(100):
        image = plates("AB·12345", rng(seed), (DEJAVU,))
        assert image.shape[0] == 32
        assert int(image.max()) - int(image.min()) > 60
