"""Parameters as parts of one vector."""

import pytest
import torch
from torch import nn

from gendiffclf.estimators.members import MemberLinear
from gendiffclf.training.vectors import ParameterVector


@pytest.fixture
def layers(generator) -> nn.ModuleList:
    """Two layers of one kind."""
    return nn.ModuleList(MemberLinear(2, 3, 4, generator) for _ in range(2))


def test_a_step_on_the_vector_is_a_step_on_every_parameter(layers, generator):
    before = {name: p.detach().clone() for name, p in layers.named_parameters()}
    weights = ParameterVector(layers)
    gradients = [torch.randn(p.shape, generator=generator) for p in layers.parameters()]
    weights.set_gradient(gradients, list(layers.parameters()))
    with torch.no_grad():
        weights.vector -= weights.gradient
    for (name, parameter), gradient in zip(layers.named_parameters(), gradients, strict=True):
        assert torch.equal(parameter, before[name] - gradient)


def test_matrices_come_first(layers):
    weights = ParameterVector(layers)
    weights.matrices.zero_()
    assert all((layer.weight == 0).all() for layer in layers)
    assert len(weights.matrices) == 2 * 2 * 3 * 4
    assert len(weights.vector) == len(weights.matrices) + 2 * 2 * 4


def test_parameters_of_one_name_in_all_layers_are_one_tensor(layers):
    expected = torch.stack([layer.weight.detach() for layer in layers])
    values, gradients = ParameterVector(layers).neighbours([layer.weight for layer in layers])
    assert torch.equal(values, expected)
    assert gradients.shape == expected.shape
    values[1] = 7
    assert (layers[1].weight == 7).all()


def test_a_parameter_without_a_gradient_gets_none(layers):
    weights = ParameterVector(layers)
    weights.gradient.fill_(3)
    parameters = list(layers.parameters())
    weights.set_gradient([torch.ones_like(p) if p is layers[0].weight else None for p in parameters], parameters)
    assert weights.gradient.sum() == layers[0].weight.numel()
    assert (weights.neighbours([layers[0].weight])[1] == 1).all()


def test_released_parameters_have_memory_of_their_own(layers):
    weights = ParameterVector(layers)
    loaded = torch.randn_like(weights.copy())
    weights.load(loaded)
    weights.release()
    expected = [p.detach().clone() for p in layers.parameters()]
    weights.load(torch.zeros_like(loaded))
    assert all(torch.equal(p, before) for p, before in zip(layers.parameters(), expected, strict=True))
    assert layers[0].weight.untyped_storage().nbytes() == 4 * 24
