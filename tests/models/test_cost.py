"""The table of docs/recognisers.md is what the recipes really are."""

import pytest

from models.cost import Cost, cost_table, costs
from models.network.model import Model
from models.network.network import build
from tests.support import ROOT

DOCUMENT = ROOT / "docs" / "recognisers.md"


@pytest.fixture(scope="module")
def by_name():
    return {cost.recipe: cost for cost in costs()}


def test_the_document_shows_the_table():
    shown = DOCUMENT.read_text(encoding="utf8").partition("<!-- cost -->\n")[2].partition("<!-- /cost -->")[0]
    assert shown.strip() == cost_table(), "run `python -m models.cost` and paste its table into docs/recognisers.md"


@pytest.mark.parametrize(
    "recipe, count",
    [
        ("crnn", 8_331_301),  # meijieru/crnn.pytorch
        ("densenet_cifar", 778_423),  # zhiqwang's own counts, as the next three
        ("resnet_cifar", 11_184_997),
        ("mobilenetv2_cifar", 2_271_269),
        ("shufflenetv2_cifar", 1_291_529),
        ("rare", 49_555_182 - 257),  # clovaai's, less the row of [GO], which is never written
    ],
)
def test_networks_have_the_parameters_of_the_systems_they_come_from(by_name, recipe, count):
    assert by_name[recipe].parameters == count


def test_the_narrow_densenet121_is_zhiqwangs():
    assert Cost.of("", Model("densenet121_narrow", "none"), 3).parameters == 1_011_013


def test_every_recipe_leaves_columns_for_doubled_letters(by_name):
    assert all(cost.steps >= 25 for cost in by_name.values())


def test_multiply_adds_are_those_of_pencil_and_paper(by_name):
    pixels = [(32, 100), (16, 50), (8, 25), (8, 25), (4, 26), (4, 26), (1, 26)]
    inputs, outputs = (1, 64, 128, 256, 256, 512, 512), (64, 128, 256, 256, 512, 512, 512)
    kernels = (9, 9, 9, 9, 9, 9, 4)
    convolutions = sum(h * w * k * i * o for (h, w), k, i, o in zip(pixels, kernels, inputs, outputs, strict=True))
    cells = 26 * 2 * 1024 * ((512 + 256) + (256 + 256))
    linear = 26 * 512 * (256 + 37)
    assert by_name["crnn"].gigaflops == pytest.approx(2 * (convolutions + cells + linear) / 1e9, rel=1e-3)


def test_costs_are_counted_as_the_network_is_built(by_name):
    assert by_name["densenet_cifar"].steps == build(Model("densenet_cifar", "none"), channels=3).time_steps(100)
