import pytest
import torch

from models.crnn import CRNN
from models.data.image import NARROWEST
from models.dataset import normalise
from models.network.network import count_parameters

# meijieru/crnn.pytorch: the field's checkpoints have these names and shapes.
FIELD = {
    "cnn.conv0.weight": (64, 1, 3, 3),
    "cnn.conv6.weight": (512, 512, 2, 2),
    "cnn.batchnorm2.running_mean": (256,),
    "cnn.batchnorm6.num_batches_tracked": (),
    "rnn.0.rnn.weight_ih_l0_reverse": (1024, 512),
    "rnn.0.embedding.weight": (256, 512),
    "rnn.1.rnn.weight_hh_l0": (1024, 256),
    "rnn.1.embedding.bias": (37,),
}


def test_parameters_are_the_fields_own():
    network = CRNN()
    assert count_parameters(network) == 8_331_301
    state = network.state_dict()
    assert len(state) == 49  # 46 learned or running tensors and 3 counters
    assert {name: tuple(state[name].shape) for name in FIELD} == FIELD


@pytest.mark.parametrize("width", [NARROWEST, 31, 32, 100, 101, 280])
def test_one_column_for_every_four_pixels(width):
    logits = CRNN().eval()(torch.zeros(2, 1, 32, width))
    assert logits.shape == (width // 4 + 1, 2, 37)
    assert CRNN.time_steps(torch.tensor([width])).item() == len(logits)


def test_a_picture_does_not_see_its_neighbours_in_evaluation():
    torch.manual_seed(0)
    network, pictures = CRNN().eval(), torch.randn(3, 1, 32, 100)
    together = network(pictures)
    alone = torch.cat([network(picture[None]) for picture in pictures], dim=1)
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)


def test_grey_levels_become_minus_one_to_one():
    levels = torch.tensor([0, 51, 255], dtype=torch.uint8).reshape(1, 1, 1, 3)
    expected = (levels.double() / 255 - 0.5) / 0.5
    torch.testing.assert_close(normalise(levels, torch.device("cpu")).double(), expected, atol=1e-6, rtol=0)
