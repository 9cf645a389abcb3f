"""The network: one definition for training and prediction, sizes, members, stages, loss and estimate."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from gendiffclf import GenerativeTransportClassifier, parameters
from gendiffclf.estimators.layers import FeedForward
from gendiffclf.estimators.network import NetworkShape, TransportNetwork, estimate, loss
from gendiffclf.estimators.tokenizers import TOKENIZERS
from gendiffclf.parameters import code_width, network_shape
from gendiffclf.preprocessing import lift_matrix
from gendiffclf.transport.learned import LearnedPath, carry, draw

SMALL = NetworkShape(n_features=5, n_layers=4, width=16, n_members=2, depth=2, n_heads=4, hidden_width=24, time_width=8,
                     n_frequencies=2)  # fmt: skip


@pytest.fixture
def inputs(generator):
    """States (M, B, L), conditions (M, B, layers, d) and times (M, B) of 6 rows for `SMALL`."""
    return (
        torch.randn(2, 6, 16, generator=generator),
        torch.randn(2, 6, 3, 5, generator=generator),
        torch.rand(2, 6, generator=generator),
    )


@pytest.fixture
def rows(generator):
    """Scaled rows (M, B, layers, d) for `SMALL`."""
    return torch.randn(2, 6, 4, 5, generator=generator)


@pytest.fixture
def codes(generator):
    """What the rows' estimates should be, (M, B, L)."""
    return torch.randn(2, 6, 16, generator=generator)


def plain(generator=None, **changes) -> TransportNetwork:
    shape = replace(SMALL, **changes)
    return TransportNetwork(shape, lift_matrix(shape.n_features, shape.width, 0), generator)


def make(generator, **changes) -> TransportNetwork:
    """A network whose zero-initialised maps are random too, so that every part matters."""
    network = plain(generator, **changes)
    for parameter in network.parameters():
        parameter.data += 0.2 * torch.randn(parameter.shape, generator=generator)
    return network


def n_parameters(network: TransportNetwork) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


# ------------------------------------------------------------------ many classes


def test_a_network_narrower_than_the_code_space_learns_and_is_saved(tiny, monkeypatch, tmp_path):
    monkeypatch.setattr(parameters, "AUTO_NETWORK_WIDTH", 32)
    y = np.arange(160) % 40
    X = np.random.default_rng(0).normal(size=(40, 6))[y] + 0.1 * np.random.default_rng(1).normal(size=(160, 6))
    classifier = tiny(width="auto", estimator="network", max_steps=300, learning_rate=0.01).fit(X[:120], y[:120])
    shape = classifier.network_.shape
    assert (shape.width, shape.code_width) == (32, 128)
    assert classifier.transform(X).shape == (160, 128)
    assert classifier.score(X[120:], y[120:]) > 0.8
    expected = classifier.predict_proba(X)
    classifier.save(tmp_path / "model")
    loaded = GenerativeTransportClassifier.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.predict_proba(X), expected)


def test_a_narrow_network_begins_with_all_features_of_the_last_layer(tiny, monkeypatch):
    """Also where these are as many as the code space has dimensions."""
    monkeypatch.setattr(parameters, "AUTO_NETWORK_WIDTH", 32)
    X, y = np.random.default_rng(0).normal(size=(160, 2, 128)), np.arange(160) % 40
    network = tiny(width="auto", estimator="network", max_steps=2).fit(X, y).network_
    assert network.shape.code_width == 128
    assert network.lift.shape == (128, 32)
    assert (network.lift != 0).any(dim=1).all()


# ---------------------------------------------------------------- one definition


@pytest.mark.parametrize("estimator", ["network", "both"])
def test_training_and_prediction_run_the_module(tiny, iris, monkeypatch, estimator):
    """Another activation in the block: another loss, and other predictions with the same weights."""
    X, y = iris
    y = np.where(np.arange(150) % 5, y, 2 - y)  # noise, so that neither estimator is sure
    classifier = tiny(estimator=estimator, max_steps=30).fit(X, y)
    if estimator == "both":
        classifier.combination_ = replace(classifier.combination_, weights=(0.5, 0.5))
    other = copy.deepcopy(classifier)
    other.network_.layers[0].feed_forward.activation = torch.square
    for n_rows in (20, 150):  # in float64 and in float32
        assert np.abs(other.predict_proba(X[:n_rows]) - classifier.predict_proba(X[:n_rows])).max() > 1e-3
    monkeypatch.setattr(FeedForward, "activation", staticmethod(torch.square))
    again = tiny(estimator=estimator, max_steps=30).fit(X, y)
    assert again.history_["loss"][0] != classifier.history_["loss"][0]


# ------------------------------------------------------------------------- sizes


@pytest.mark.parametrize(("queries_and_keys", "expected"), [(False, 62_962_712), (True, 71_359_512)])
def test_gen_ser_has_the_parameters_of_the_paper(queries_and_keys, expected):
    params = GenerativeTransportClassifier.from_preset("gen-ser").get_params(deep=False)
    width = code_width(params, n_classes=7)
    assert width == 1024
    shape = network_shape(params, n_layers=25, n_features=1024, width=width)
    with torch.device("meta"):
        network = TransportNetwork(replace(shape, queries_and_keys=queries_and_keys), np.eye(1024))
    assert n_parameters(network) == expected


@pytest.mark.parametrize("d", [16, 48])
@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize("queries_and_keys", [True, False])
def test_parameter_count_in_closed_form(d, depth, queries_and_keys):
    network = plain(n_features=d, n_layers=25, width=d, depth=depth, hidden_width=4 * d, time_width=d, n_members=1,
                    n_frequencies=0, queries_and_keys=queries_and_keys)  # fmt: skip
    layer = 4 * d**2 + 8 * d**2 + 4 * d**2 + 13 * d - (0 if queries_and_keys else 2 * (d**2 + d))
    assert n_parameters(network) == depth * layer + (2 * d**2 + d) + (2 * d**2 + 2 * d) + 24


def test_without_a_learned_path_there_are_no_parameters_of_time(tiny, iris):
    timeless = [name for name, _ in tiny(estimator="network").fit(*iris).network_.named_parameters()]
    assert not [name for name in timeless if "time" in name or "modulation" in name]
    with_time = tiny(estimator="network", path=LearnedPath(time_width=8)).fit(*iris).network_
    added = {name.split(".")[0] for name, _ in with_time.named_parameters() if name not in timeless}
    assert added == {"time_embedding", "modulation"}


# ----------------------------------------------------------------------- members


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
def test_estimates_have_the_shape_of_the_state(tokenizer, generator, inputs):
    found = make(generator, tokenizer=tokenizer)(*inputs)
    assert found.shape == (2, 6, 16)
    assert found.isfinite().all()


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
def test_rows_do_not_see_each_other(tokenizer, generator, inputs):
    network = make(generator, tokenizer=tokenizer)
    one = network(*(x[:, 2:3] for x in inputs))
    torch.testing.assert_close(one, network(*inputs)[:, 2:3], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("tokenizer", TOKENIZERS)
def test_a_member_alone_gives_the_same(tokenizer, generator, inputs):
    network = make(generator, tokenizer=tokenizer)
    together = network(*inputs)
    for member in range(2):
        alone = plain(generator, tokenizer=tokenizer, n_members=1)
        own = {name: w[member : member + 1] for name, w in network.named_parameters()}
        alone.load_state_dict({**own, "lift": network.lift})
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


def test_one_time_serves_all_rows(generator, inputs):
    network = make(generator)
    x_t, condition, _ = inputs
    torch.testing.assert_close(
        network(x_t, condition, torch.tensor(0.3)), network(x_t, condition, torch.full((2, 6), 0.3))
    )


def test_members_take_turns_in_the_view_that_they_see(generator):
    """Each is the network of one view that has its weights."""
    network = make(generator, n_members=3, n_views=2, time_width=0)
    rows = torch.randn(1, 6, 8, 5, generator=generator)  # (1, B, views * layers, d)
    single = plain(n_members=3, time_width=0)
    single.load_state_dict(network.state_dict())
    found = estimate(network, rows)
    for view in (0, 1):
        seen = rows[:, :, 4 * view : 4 * view + 4].expand(3, -1, -1, -1)
        torch.testing.assert_close(found[view::2], estimate(single, seen)[view::2])


def test_frequencies_start_at_zero_where_the_view_is_not_the_first(generator):
    network = plain(generator, n_members=3, n_views=2)
    assert [bool(f.any()) for f in network.embedding.frequencies] == [True, False, True]


def test_initial_weights_come_from_the_generator_alone():
    before = torch.get_rng_state()
    first, second, third = (
        torch.cat([p.flatten() for p in plain(torch.Generator().manual_seed(seed)).parameters()]) for seed in (1, 1, 2)
    )
    assert torch.equal(first, second)
    assert not torch.equal(first, third)
    assert torch.equal(before, torch.get_rng_state())


# ------------------------------------------------------------------------ stages


def test_with_one_token_queries_and_keys_change_nothing(generator, inputs):
    full, short = make(generator, queries_and_keys=True), plain(generator)
    names = set(short.state_dict())
    assert {name.split(".")[3] for name in full.state_dict() if name not in names} == {"query", "key"}
    short.load_state_dict({name: w for name, w in full.state_dict().items() if name in names})
    torch.testing.assert_close(short(*inputs), full(*inputs))


@pytest.mark.parametrize("tokenizer", ["layers", "chunks"])
def test_of_several_tokens_queries_and_keys_are_never_left_out(tokenizer):
    assert plain(tokenizer=tokenizer).layers[0].attention.query is not None


def test_a_network_in_closed_form(generator):
    """One layer without time: the fused token, plus attention, plus feed-forward."""
    network = make(generator, time_width=0, depth=1, n_layers=1)
    x1, x = torch.randn(2, 6, 16, generator=generator), torch.randn(2, 6, 5, generator=generator)
    token = network.fusion(torch.cat([x1, network.embedding(x)], dim=-1))

    def normal(x):
        return x / (x.square().mean(-1, keepdim=True) + 1e-6).sqrt()

    (layer,) = network.layers
    token = token + layer.attention.out(layer.attention.value(normal(token)))
    up = torch.nn.functional.gelu(layer.feed_forward.up(normal(token)))
    torch.testing.assert_close(network(x1, x[:, :, None]), token + layer.feed_forward.down(up))


def test_conditioning_layers_start_with_equal_weights(generator, inputs):
    network = plain(generator)
    x_t, condition, t = inputs
    mean = condition.mean(2, keepdim=True).expand(-1, -1, 3, -1)
    torch.testing.assert_close(network(x_t, condition, t), network(x_t, mean, t))
    network.layer_weights.data[..., 0] += 1
    assert not torch.allclose(network(x_t, condition, t), network(x_t, mean, t))


@pytest.mark.parametrize("n_layers", [1, 2])
def test_one_conditioning_layer_needs_no_weights(n_layers):
    assert plain(n_layers=n_layers).layer_weights is None


def test_a_row_of_one_layer_is_its_own_condition(generator, rows):
    network = plain(generator, n_layers=1)
    x1, condition = network.split(rows[:, :, :1])
    torch.testing.assert_close(x1, rows[:, :, 0] @ network.lift)
    assert torch.equal(condition, rows[:, :, :1])


def test_of_several_layers_the_last_starts_and_the_others_condition(generator, rows):
    network = plain(generator)
    x1, condition = network.split(rows)
    torch.testing.assert_close(x1, rows[:, :, 3] @ network.lift)
    assert torch.equal(condition, rows[:, :, :3])


# -------------------------------------------------------------- loss and estimate


def test_the_loss_is_the_squared_error_of_the_estimate(generator, rows, codes):
    network = make(generator, time_width=0)
    x1, condition = network.split(rows)
    expected = (network(x1, condition) - codes).square().sum(-1) / 16
    torch.testing.assert_close(loss(network, rows, codes), expected)
    torch.testing.assert_close((estimate(network, rows) - codes).square().mean(-1), expected)


def test_the_loss_on_a_learned_path_is_that_at_drawn_times(generator, rows, codes):
    network, path = make(generator), LearnedPath(objective="velocity", variance="bridge")
    found = loss(network, rows, codes, path, torch.Generator().manual_seed(3))
    x1, condition = network.split(rows)
    x_t, t, target = draw(path, codes, x1, torch.Generator().manual_seed(3))
    torch.testing.assert_close(found, (network(x_t, condition, t) - target).square().mean(-1))
    assert not torch.allclose(found, loss(network, rows, codes, path, torch.Generator().manual_seed(4)))


def test_the_estimate_on_a_learned_path_is_the_end_of_transport(generator, rows):
    network, path = make(generator), LearnedPath(n_steps=3, solver="euler")
    x1, condition = network.split(rows)
    end = carry(path, lambda x_t, t: network(x_t, condition, t), x1)[-1]
    torch.testing.assert_close(estimate(network, rows, path), end)


def test_rows_may_be_shared_by_the_members(generator, rows):
    network = make(generator, time_width=0)
    torch.testing.assert_close(estimate(network, rows[:1]), estimate(network, rows[:1].expand(2, -1, -1, -1)))


def test_dropout_needs_a_generator(generator, rows, codes):
    network = make(generator, time_width=0, dropout=0.5)
    assert torch.equal(loss(network, rows, codes), loss(network, rows, codes))
    one, other = (loss(network, rows, codes, generator=torch.Generator().manual_seed(seed)) for seed in (1, 2))
    assert not torch.allclose(one, other)


def test_double_precision_is_kept_throughout(generator, rows, codes):
    network = make(generator, time_width=0).double()
    single = copy.deepcopy(network).float()
    found = loss(network, rows.double(), codes.double())
    assert found.dtype == torch.float64
    torch.testing.assert_close(found.float(), loss(single, rows, codes), rtol=1e-4, atol=1e-5)
    nudged = rows.double() * (1 + 1e-12)
    assert 0 < (loss(network, nudged, codes.double()) - found).abs().max() < 1e-9


def test_bfloat16_products_leave_times_and_states_alone(generator, rows, codes):
    """In bfloat16 the time .999 would be 1, where velocities are infinite."""
    seen = []
    network = make(generator)
    network.register_forward_pre_hook(lambda _, inputs: seen.extend(inputs[:3]))
    with torch.autocast("cpu", torch.bfloat16):
        found = loss(network, rows, codes, LearnedPath(objective="velocity"), generator)
    assert found.isfinite().all()
    assert {x.dtype for x in seen} == {torch.float32}
    assert found.dtype == torch.float32
