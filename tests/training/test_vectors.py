"""Parameters as parts of two vectors."""

import torch
from torch import nn

from gendiffclf.networks.members import MemberLinear
from gendiffclf.training.vectors import ParameterVectors


def test_a_step_on_the_vectors_is_a_step_on_every_parameter():
    generator = torch.Generator().manual_seed(0)
    linear = MemberLinear(2, 3, 4, generator)
    before = {name: p.detach().clone() for name, p in linear.named_parameters()}
    weights = ParameterVectors(list(linear.parameters()))
    matrices, others = weights.vectors
    assert (matrices.numel(), others.numel()) == (2 * 3 * 4, 2 * 4)
    gradients: dict[nn.Parameter, torch.Tensor] = {
        p: torch.randn(p.shape, generator=generator) for p in linear.parameters()
    }
    with torch.no_grad():
        for vector, gradient in zip(weights.vectors, weights.of(gradients), strict=True):
            vector -= gradient
    for name, parameter in linear.named_parameters():
        assert torch.equal(parameter, before[name] - gradients[parameter])


def test_a_parameter_without_a_gradient_gets_none():
    linear = MemberLinear(2, 3, 4, torch.Generator())
    weights = ParameterVectors(list(linear.parameters()))
    matrices, others = weights.of({linear.weight: torch.ones(2, 3, 4)})
    assert torch.equal(matrices, torch.ones(24))
    assert torch.equal(others, torch.zeros(8))


def test_released_parameters_have_memory_of_their_own():
    linear = MemberLinear(2, 3, 4, torch.Generator().manual_seed(0))
    weights = ParameterVectors(list(linear.parameters()))
    loaded = [torch.randn_like(vector) for vector in weights.copy()]
    weights.load(loaded)
    weights.release()
    weights.load([torch.zeros_like(vector) for vector in loaded])
    assert torch.equal(linear.weight.detach().flatten(), loaded[0])
    assert linear.weight.untyped_storage().nbytes() == 4 * 24
