"""Batched layers against one network at a time."""

import math

import pytest
import torch

from gendiffclf.estimators.members import MemberLinear, dropout, rms_normalise


@pytest.mark.parametrize("shape", [(3, 5, 4), (3, 5, 2, 4), (3, 1, 4)])
def test_every_member_applies_its_own_map(generator, shape):
    layer = MemberLinear(3, 4, 6, generator)
    torch.nn.init.normal_(layer.bias, generator=generator)
    x = torch.randn(shape, generator=generator)
    found = layer(x)
    assert found.shape == (*shape[:-1], 6)
    for member in range(3):
        torch.testing.assert_close(found[member], x[member] @ layer.weight[member] + layer.bias[member, 0])


def test_members_do_not_share_gradients(generator):
    layer = MemberLinear(3, 4, 6, generator)
    layer(torch.randn(3, 5, 4, generator=generator))[1].sum().backward()
    assert layer.weight.grad[1].abs().sum() > 0
    assert layer.weight.grad[[0, 2]].abs().sum() == 0
    assert layer.bias.grad[[0, 2]].abs().sum() == 0


def test_initial_weights_fill_their_interval_and_differ_between_members(generator):
    layer = MemberLinear(2, 100, 50, generator)
    bound = 1 / math.sqrt(100)
    assert 0.99 * bound < layer.weight.abs().max() <= bound
    assert layer.weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.02)
    assert not torch.equal(layer.weight[0], layer.weight[1])
    assert (layer.bias == 0).all()
    assert (MemberLinear(2, 3, 4, generator, zero=True).weight == 0).all()


def test_rms_normalisation_sets_the_root_mean_square_to_1(generator):
    x = 100 * torch.randn(2, 3, 16, generator=generator)
    normal = rms_normalise(x)
    torch.testing.assert_close(normal.pow(2).mean(-1), torch.ones(2, 3))
    torch.testing.assert_close(normal * x.pow(2).mean(-1, keepdim=True).sqrt(), x)
    assert (rms_normalise(torch.zeros(1, 4)) == 0).all()


def test_dropout_keeps_the_mean_and_is_off_without_a_generator(generator):
    x = torch.ones(2, 100_000)
    dropped = dropout(x, 0.3, generator)
    torch.testing.assert_close(dropped.unique(), torch.tensor([0.0, 1 / 0.7]))
    assert (dropped == 0).float().mean().item() == pytest.approx(0.3, abs=0.01)
    assert dropped.mean().item() == pytest.approx(1, abs=0.01)
    assert dropout(x, 0.3, None) is x
    assert dropout(x, 0.0, generator) is x


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_layers_keep_the_precision_of_their_input(generator, dtype):
    x = torch.randn(2, 3, 4, generator=generator).to(dtype)
    assert dropout(x, 0.5, generator).dtype == rms_normalise(x).dtype == dtype
    assert MemberLinear(2, 4, 5, generator).to(dtype)(x).dtype == dtype
