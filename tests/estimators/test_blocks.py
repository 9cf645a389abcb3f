"""Attention and the transformer layer."""

import pytest
import torch

from gendiffclf.estimators.blocks import Attention, TransformerLayer
from gendiffclf.estimators.members import rms_normalise


def test_attention_in_closed_form(generator):
    attention = Attention(2, 8, 2, generator)
    tokens = torch.randn(2, 3, 5, 8, generator=generator)  # (M, B, T, width)
    found = attention(tokens, 5)
    query, key, value = (
        layer(tokens).unflatten(-1, (2, 4)) for layer in (attention.query, attention.key, attention.value)
    )
    logits = torch.einsum("mbqhw,mbkhw->mbhqk", query, key) / 4**0.5
    expected = attention.out(torch.einsum("mbhqk,mbkhw->mbqhw", logits.softmax(-1), value).flatten(-2))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(attention(tokens, 2), expected[:, :, :2], rtol=1e-4, atol=1e-6)


def test_queries_and_keys_get_no_gradient_from_one_token(generator):
    attention = Attention(1, 8, 2, generator)
    attention(torch.randn(1, 6, 1, 8, generator=generator), 1).pow(2).sum().backward()
    for layer in (attention.query, attention.key):
        assert layer.weight.grad.abs().max() == 0
        assert layer.bias.grad.abs().max() == 0
    assert attention.value.weight.grad.abs().max() > 0


def test_queries_and_keys_get_a_gradient_from_two_tokens(generator):
    attention = Attention(1, 8, 2, generator)
    attention(torch.randn(1, 6, 2, 8, generator=generator), 1).pow(2).sum().backward()
    assert attention.query.weight.grad.abs().max() > 1e-5
    assert attention.key.weight.grad.abs().max() > 1e-5


def test_with_one_token_leaving_out_queries_and_keys_changes_nothing(generator):
    full = Attention(3, 8, 2, generator)
    short = Attention(3, 8, 2, generator, queries_and_keys=False)
    assert short.query is short.key is None
    short.load_state_dict({name: w for name, w in full.state_dict().items() if not name.startswith(("query", "key"))})
    x = torch.randn(3, 6, 1, 8, generator=generator)
    torch.testing.assert_close(short(x, 1), full(x, 1))
    grads = []
    for attention in (short, full):
        attention(x, 1).pow(2).sum().backward()
        grads.append(attention.value.weight.grad)
    torch.testing.assert_close(*grads)


@pytest.fixture
def layer(generator):
    return TransformerLayer(2, 8, 2, 16, 4, 0.0, generator, queries_and_keys=True)


def test_scales_and_gates_start_at_1_for_every_time(layer, generator):
    tokens = torch.randn(2, 3, 5, 8, generator=generator)
    early, late = (layer(tokens, torch.full((2, 1, 4), value), None) for value in (0.0, 9.0))
    torch.testing.assert_close(early, late)
    after = tokens + layer.attention(rms_normalise(tokens), 5)
    expected = after + layer.feed_forward.down(torch.nn.functional.gelu(layer.feed_forward.up(rms_normalise(after))))
    torch.testing.assert_close(early, expected)


def test_time_sets_scales_and_gates(layer, generator):
    """Each of the four has a place of its own in the modulation; closed gates leave the tokens as they are."""
    tokens = torch.randn(2, 3, 5, 8, generator=generator)
    layer.modulation.bias.data.normal_(generator=generator)
    layer.modulation.weight.data.normal_(generator=generator)
    time = torch.randn(2, 3, 4, generator=generator)
    modulation = 1 + time @ layer.modulation.weight + layer.modulation.bias
    scale_a, gate_a, scale_f, gate_f = modulation[:, :, None].chunk(4, dim=-1)
    after = tokens + gate_a * layer.attention(rms_normalise(tokens) * scale_a, 5)
    hidden = torch.nn.functional.gelu(layer.feed_forward.up(rms_normalise(after) * scale_f))
    torch.testing.assert_close(layer(tokens, time, None), after + gate_f * layer.feed_forward.down(hidden))

    layer.modulation.weight.data.zero_()
    layer.modulation.bias.data.unflatten(-1, (4, 8))[..., [1, 3], :] = -1
    torch.testing.assert_close(layer(tokens, time, None), tokens)


def test_dropout_needs_a_generator(generator):
    layer = TransformerLayer(1, 8, 2, 16, 4, 0.5, generator, queries_and_keys=False)
    tokens, time = torch.randn(1, 3, 1, 8, generator=generator), torch.zeros(1, 1, 4)
    torch.testing.assert_close(layer(tokens, time, None), layer(tokens, time, None))
    assert not torch.allclose(layer(tokens, time, generator), layer(tokens, time, None))
