"""The network: parameter counts, members, stages."""

from dataclasses import replace

import pytest
import torch

from gendiffclf import GenerativeTransportClassifier
from gendiffclf.estimators.network import NetworkShape, TransportNetwork
from gendiffclf.estimators.tokenizers import TOKENIZERS
from gendiffclf.parameters import code_width, network_shape

SMALL = NetworkShape(n_features=5, n_condition_layers=3, width=16, n_members=2, depth=2, n_heads=4, hidden_width=24,
                     time_width=8, n_frequencies=2, chunk_size=4)  # fmt: skip


@pytest.fixture
def inputs(generator):
    """States (M, B, L), conditions (M, B, layers, d) and times (M, B) of 6 rows for `SMALL`."""
    return (
        torch.randn(2, 6, 16, generator=generator),
        torch.randn(2, 6, 3, 5, generator=generator),
        torch.rand(2, 6, generator=generator),
    )


def make(generator, **changes) -> TransportNetwork:
    """A network whose zero-initialised maps are random too, so that every part matters."""
    network = TransportNetwork(replace(SMALL, **changes), generator)
    for parameter in network.parameters():
        parameter.data += 0.2 * torch.randn(parameter.shape, generator=generator)
    return network


def n_parameters(shape: NetworkShape) -> int:
    return sum(parameter.numel() for parameter in TransportNetwork(shape).parameters())


def test_gen_ser_has_the_parameters_of_the_paper():
    params = GenerativeTransportClassifier.from_preset("gen-ser").get_params()
    width = code_width(params, n_classes=7)
    assert width == 1024
    shape = network_shape(params, n_layers=25, n_features=1024, width=width)
    assert shape.n_condition_layers == 24
    assert n_parameters(shape) == 62_962_712
    assert n_parameters(replace(shape, queries_and_keys=True)) == 71_359_512


@pytest.mark.parametrize("d", [16, 48])
@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize("queries_and_keys", [True, False])
def test_parameter_count_in_closed_form(d, depth, queries_and_keys):
    shape = NetworkShape(n_features=d, n_condition_layers=24, width=d, depth=depth, hidden_width=4 * d, time_width=d,
                         queries_and_keys=queries_and_keys)  # fmt: skip
    layer = 4 * d**2 + 8 * d**2 + 4 * d**2 + 13 * d - (0 if queries_and_keys else 2 * (d**2 + d))
    assert n_parameters(shape) == depth * layer + (2 * d**2 + d) + (2 * d**2 + 2 * d) + 24


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
def test_estimates_have_the_shape_of_the_state(tokenizer, generator, inputs):
    network = make(generator, tokenizer=tokenizer)
    found = network(*inputs)
    assert found.shape == (2, 6, 16)
    assert found.isfinite().all()


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
def test_rows_do_not_see_each_other(tokenizer, generator, inputs):
    network = make(generator, tokenizer=tokenizer)
    one = network(*(x[:, 2:3] for x in inputs))
    torch.testing.assert_close(one, network(*inputs)[:, 2:3], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
def test_members_are_independent_networks(tokenizer, generator, inputs):
    network = make(generator, tokenizer=tokenizer)
    together = network(*inputs)
    for member in range(2):
        alone = make(generator, tokenizer=tokenizer, n_members=1)
        alone.load_state_dict({name: w[member : member + 1] for name, w in network.state_dict().items()})
        torch.testing.assert_close(alone(*(x[member : member + 1] for x in inputs)), together[member : member + 1])


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
def test_every_input_and_every_parameter_matters(tokenizer, generator, inputs):
    network = make(generator, tokenizer=tokenizer)
    inputs = [x.requires_grad_() for x in inputs]
    network(*inputs).pow(2).sum().backward()
    for x in inputs:
        assert x.grad.abs().max() > 1e-6
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 1e-8, name


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
def test_rows_and_time_may_be_shared_by_the_members(tokenizer, generator, inputs):
    network = make(generator, tokenizer=tokenizer)
    x_t, condition = inputs[0][:1], inputs[1][:1]
    shared = network(x_t, condition, torch.tensor(0.3))
    torch.testing.assert_close(
        shared, network(x_t.expand(2, -1, -1), condition.expand(2, -1, -1, -1), torch.full((2, 6), 0.3))
    )


def test_the_last_layer_computes_the_first_token_alone_without_a_difference(generator, inputs):
    network = make(generator, tokenizer="chunks")
    x_t, condition, t = inputs
    tokens, time = network.tokens(x_t, condition), network.time_embedding(t)
    for layer in network.layers:
        tokens = layer(tokens, time, None)
    torch.testing.assert_close(network(*inputs), tokens[:, :, 0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
def test_the_estimate_is_linear_in_the_last_map(tokenizer, generator, inputs):
    network = make(generator, tokenizer=tokenizer)
    residual, hidden, gate = network.before_last_map(*inputs)
    assert hidden.shape == (2, 6, 24)
    expected = residual + gate * (hidden @ network.last_map.weight + network.last_map.bias)
    torch.testing.assert_close(network(*inputs), expected)


def test_conditioning_layers_start_with_equal_weights(generator):
    network = TransportNetwork(SMALL, generator)
    x_t, condition = torch.randn(2, 6, 16, generator=generator), torch.randn(2, 6, 3, 5, generator=generator)
    mean = condition.mean(2, keepdim=True).expand(-1, -1, 3, -1)
    t = torch.tensor(0.5)
    torch.testing.assert_close(network(x_t, condition, t), network(x_t, mean, t))
    network.layer_weights.data[..., 0] += 1
    assert not torch.allclose(network(x_t, condition, t), network(x_t, mean, t))


def test_one_conditioning_layer_needs_no_weights(generator):
    assert TransportNetwork(replace(SMALL, n_condition_layers=1), generator).layer_weights is None


def test_initial_weights_come_from_the_generator_alone():
    before = torch.get_rng_state()
    first, second, third = (
        torch.cat([p.flatten() for p in TransportNetwork(SMALL, torch.Generator().manual_seed(seed)).parameters()])
        for seed in (1, 1, 2)
    )
    assert torch.equal(first, second)
    assert not torch.equal(first, third)
    assert torch.equal(before, torch.get_rng_state())
