"""Distortions on whole batches: off by default, bounded, each picture its own, and moving what they say."""

from dataclasses import fields

import pytest
import torch

from models.data.augment import MODERATE, Augment, augment, blur, homographies, warp


def batch(n=4, channels=1):
    torch.manual_seed(0)
    return torch.rand(n, channels, 32, 100) * 2 - 1


def test_it_is_off_unless_a_strength_is_given():
    images = batch()
    assert augment(images, Augment()) is images and not Augment().on


@pytest.mark.parametrize("name", [field.name for field in fields(Augment)])
def test_each_distortion_changes_pictures_and_stays_in_range(name):
    images = batch()
    torch.manual_seed(3)
    changed = augment(images, Augment(**{name: 1.0}))
    assert changed.shape == images.shape and changed.abs().max() <= 1
    assert not torch.equal(changed, images)


def test_every_picture_draws_its_own_and_the_seed_decides(n=3):
    same = batch(1).repeat(n, 1, 1, 1)
    torch.manual_seed(5)
    first = augment(same, MODERATE)
    torch.manual_seed(5)
    assert torch.equal(first, augment(same, MODERATE))
    assert not torch.allclose(first[0], first[1])


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("channels", [1, 3])
def test_type_and_channels_are_kept(kind, channels):
    assert augment(batch(2, channels).to(kind), MODERATE).dtype == kind


def test_no_movement_is_the_identity():
    images = batch()
    assert torch.allclose(warp(images, torch.eye(3).expand(4, 3, 3)), images, atol=1e-5)
    assert torch.allclose(homographies(5, Augment(), 0.32), torch.eye(3).expand(5, 3, 3))


def test_a_shift_moves_by_its_share_of_the_width():
    images = torch.zeros(1, 1, 32, 100)
    images[..., 50] = 1
    matrix = torch.eye(3)[None].clone()
    matrix[0, 0, 2] = 2 * 0.1  # the result looks a tenth of the width to the right
    assert warp(images, matrix)[0, 0, 16].argmax() == 40


def test_a_rotation_is_one_in_pixels_not_in_shares_of_the_sides():
    """A bar turned by an angle leans by its tangent in px per px, though the picture is three times as wide."""
    images = -torch.ones(1, 1, 32, 100)
    images[..., 49:51] = 1
    torch.manual_seed(1)
    matrix = homographies(1, Augment(rotate=10.0), 32 / 100)
    angle = torch.atan2(matrix[0, 1, 0] * 0.32, matrix[0, 0, 0])
    turned = warp(images, matrix)[0, 0]
    top, bottom = (((row + 1) * torch.arange(100)).sum() / (row + 1).sum() for row in (turned[4], turned[27]))
    assert abs(angle) > 0.05
    assert abs((bottom - top) / 23 - torch.tan(angle)) < 0.03


def test_blur_keeps_the_mean_and_lowers_the_variance_by_sigma():
    images = batch(3)
    blurred = blur(images, torch.tensor([0.0, 0.5, 1.0]))
    assert torch.allclose(blurred[0], images[0], atol=1e-5)
    spread = blurred.flatten(1).std(1)
    assert spread[0] > spread[1] > spread[2]
    assert torch.allclose(blurred.mean((1, 2, 3)), images.mean((1, 2, 3)), atol=0.01)


def test_inversion_happens_as_often_as_it_says():
    torch.manual_seed(1)
    images = torch.full((2000, 1, 16, 16), 0.5)
    share = (augment(images, Augment(invert=0.3))[:, 0, 0, 0] < 0).float().mean()
    assert 0.25 < share < 0.35


@pytest.mark.parametrize("one", ["rotate", "scale", "shift", "perspective"])
def test_the_ends_of_a_long_line_move_by_no_more_pixels_than_those_of_a_word(one):
    strength = Augment(**{one: {"rotate": 3}.get(one, 0.06)})
    moved = {}
    for width in (100, 640):
        torch.manual_seed(4)
        maps = homographies(400, strength, 32 / width)
        ends = torch.tensor([[-1.0, 0, 1], [1.0, 0, 1]]) @ maps.transpose(1, 2)
        places = ends[..., :2] / ends[..., 2:] - torch.tensor([[-1.0, 0], [1.0, 0]])
        moved[width] = (places * torch.tensor([width, 32]) / 2).abs().amax((0, 1))
    assert moved[100].max() > 1
    assert (moved[640] <= moved[100] * 1.05 + 0.05).all()
