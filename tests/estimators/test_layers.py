"""Layers of several networks at once: against one network at a time, and in closed form."""

import math

import pytest
import torch

from gendiffclf.estimators.layers import (
    Attention,
    FeedForward,
    MemberLinear,
    PeriodicEmbedding,
    TimeEmbedding,
    TransformerLayer,
    dropout,
    rms_norm,
)

# --------------------------------------------------------- members, normalisation


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


def test_rms_norm_sets_the_root_mean_square_to_1(generator):
    x = 100 * torch.randn(2, 3, 16, generator=generator)
    normal = rms_norm(x)
    torch.testing.assert_close(normal.pow(2).mean(-1), torch.ones(2, 3))
    torch.testing.assert_close(normal * x.pow(2).mean(-1, keepdim=True).sqrt(), x)
    assert (rms_norm(torch.zeros(1, 4)) == 0).all()


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
    assert dropout(x, 0.5, generator).dtype == rms_norm(x).dtype == dtype
    assert MemberLinear(2, 4, 5, generator).to(dtype)(x).dtype == dtype


# -------------------------------------------------------------------- embeddings


@pytest.mark.parametrize("width", [1, 7, 8])
def test_time_embedding_in_closed_form(generator, width):
    embedding = TimeEmbedding(1, width, generator).double()
    t = torch.tensor([[0.0, 0.25, 1.0]], dtype=torch.float64)  # (M, B)
    angles = 1000 * t[..., None] * 10_000.0 ** (-torch.arange((width + 1) // 2) / ((width + 1) // 2))
    sinusoids = torch.cat([angles.sin(), angles.cos()], dim=-1)[..., :width]
    silu = torch.nn.functional.silu
    torch.testing.assert_close(embedding(t), silu(embedding.second(silu(embedding.first(sinusoids)))))


def test_time_is_stretched_enough_to_tell_close_times_apart(generator):
    """Unscaled, the sinusoids of .50 and .51 would be 0.01 apart."""
    seen = []
    embedding = TimeEmbedding(1, 32, generator)
    embedding.first.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    embedding(torch.tensor([[0.50, 0.51]]))
    assert (seen[0][0, 0] - seen[0][0, 1]).norm() > 1


def test_one_time_is_embedded_as_a_row_of_them(generator):
    embedding = TimeEmbedding(2, 16, generator)
    one = embedding(torch.tensor(0.3))
    many = embedding(torch.full((2, 5), 0.3))
    assert one.shape == (2, 1, 16)
    torch.testing.assert_close(one.expand(2, 5, 16), many)


def test_periodic_embedding_in_closed_form(generator):
    embedding = PeriodicEmbedding(2, 3, 4, 0.1, generator)
    assert embedding.out_features == 3 * 9
    x = torch.randn(2, 5, 3, generator=generator)
    found = embedding(x)
    assert found.shape == (2, 5, 27)
    torch.testing.assert_close(found[..., :3], x)
    for number in range(4):
        angles = 2 * math.pi * x * embedding.frequencies[:, :, number]
        start = 3 + 3 * number
        torch.testing.assert_close(found[..., start : start + 3], angles.cos())
        torch.testing.assert_close(found[..., 12 + start : 12 + start + 3], angles.sin())


def test_periodic_embedding_starts_at_its_scale_or_is_absent(generator):
    assert PeriodicEmbedding(4, 50, 50, 0.1, generator).frequencies.std().item() == pytest.approx(0.1, rel=0.05)
    plain = PeriodicEmbedding(1, 3, 0, 0.1, generator)
    x = torch.ones(1, 2, 3)
    assert plain(x) is x
    assert plain.out_features == 3
    assert not list(plain.parameters())


# --------------------------------------------------------------------- attention


def test_attention_in_closed_form(generator):
    attention = Attention(2, 8, 2, generator, queries_and_keys=True)
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
    attention = Attention(1, 8, 2, generator, queries_and_keys=True)
    attention(torch.randn(1, 6, 1, 8, generator=generator), 1).pow(2).sum().backward()
    for layer in (attention.query, attention.key):
        assert layer.weight.grad.abs().max() == 0
        assert layer.bias.grad.abs().max() == 0
    assert attention.value.weight.grad.abs().max() > 0


def test_queries_and_keys_get_a_gradient_from_two_tokens(generator):
    attention = Attention(1, 8, 2, generator, queries_and_keys=True)
    attention(torch.randn(1, 6, 2, 8, generator=generator), 1).pow(2).sum().backward()
    assert attention.query.weight.grad.abs().max() > 1e-5
    assert attention.key.weight.grad.abs().max() > 1e-5


def test_with_one_token_leaving_out_queries_and_keys_changes_nothing(generator):
    full = Attention(3, 8, 2, generator, queries_and_keys=True)
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


def test_with_one_token_attention_is_the_product_of_two_maps(generator):
    attention = Attention(2, 8, 2, generator, queries_and_keys=False)
    x = torch.randn(2, 6, 1, 8, generator=generator)
    product = attention.value.weight @ attention.out.weight  # biases start at 0
    torch.testing.assert_close(attention(x, 1)[:, :, 0], x[:, :, 0] @ product)


# ---------------------------------------------------------- feed-forward, layers


def test_feed_forward_in_closed_form(generator):
    feed_forward = FeedForward(2, 8, 5, 0.0, generator)
    x = torch.randn(2, 3, 1, 8, generator=generator)
    hidden = torch.nn.functional.gelu(x @ feed_forward.up.weight[:, None])
    torch.testing.assert_close(feed_forward(x, generator), hidden @ feed_forward.down.weight[:, None])


@pytest.fixture
def layer(generator):
    return TransformerLayer(2, 8, 2, 16, 0.0, generator, queries_and_keys=True)


def test_a_layer_without_time_adds_attention_and_feed_forward(layer, generator):
    tokens = torch.randn(2, 3, 5, 8, generator=generator)
    after = tokens + layer.attention(rms_norm(tokens), 5)
    expected = after + layer.feed_forward.down(torch.nn.functional.gelu(layer.feed_forward.up(rms_norm(after))))
    torch.testing.assert_close(layer(tokens, None, 5, None), expected)
    torch.testing.assert_close(layer(tokens, torch.ones(4, 2, 1, 1, 8), 5, None), expected)


def test_scales_are_before_and_gates_after_each_part(layer, generator):
    tokens = torch.randn(2, 3, 5, 8, generator=generator)
    modulation = torch.randn(4, 2, 3, 1, 8, generator=generator)
    scale_a, gate_a, scale_f, gate_f = modulation
    after = tokens + gate_a * layer.attention(rms_norm(tokens) * scale_a, 5)
    hidden = torch.nn.functional.gelu(layer.feed_forward.up(rms_norm(after) * scale_f))
    torch.testing.assert_close(layer(tokens, modulation, 5, None), after + gate_f * layer.feed_forward.down(hidden))
    modulation[[1, 3]] = 0
    torch.testing.assert_close(layer(tokens, modulation, 5, None), tokens)


def test_dropout_needs_a_generator(generator):
    layer = TransformerLayer(1, 8, 2, 16, 0.5, generator, queries_and_keys=False)
    tokens = torch.randn(1, 3, 1, 8, generator=generator)
    torch.testing.assert_close(layer(tokens, None, 1, None), layer(tokens, None, 1, None))
    assert not torch.allclose(layer(tokens, None, 1, generator), layer(tokens, None, 1, None))


def test_only_the_tokens_asked_for_are_computed_and_they_are_the_same(layer, generator):
    tokens, time = torch.randn(2, 3, 5, 8, generator=generator), torch.ones(4, 2, 1, 1, 8)
    torch.testing.assert_close(layer(tokens, time, 2, None), layer(tokens, time, 5, None)[:, :, :2])
