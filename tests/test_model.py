"""The model of one classifier: what it trains on, how it carries rows."""

import numpy as np
import pytest
import torch

from gendiffclf.estimators.network import NetworkShape
from gendiffclf.model import TransportModel, TransportSettings
from gendiffclf.preprocessing import lift_matrix
from gendiffclf.transport.codes import label_codes
from gendiffclf.transport.path import OBJECTIVES
from gendiffclf.transport.solvers import SOLVERS

WIDTH, D, MEMBERS = 16, 5, 3


def make(n_layers: int = 1, n_views: int = 1, **changes) -> TransportModel:
    """A model with random parameters throughout."""
    settings = TransportSettings(
        **{
            "mean_schedule": "logistic",
            "steepness": 5.0,
            "variance_schedule": "bridge",
            "sigma": 0.5,
            "objective": "target",
            "time_sampling": "uniform",
            "t_min": 0.001,
            "t_max": 1.0,
            **changes,
        }
    )
    generator = torch.Generator().manual_seed(0)
    shape = NetworkShape(n_features=D, n_condition_layers=max(1, n_layers - 1), width=WIDTH, n_members=MEMBERS, depth=1,
                         hidden_width=24, time_width=8, n_views=n_views)  # fmt: skip
    model = TransportModel(shape, settings, lift_matrix("orthogonal", D, WIDTH, 0), generator)
    for parameter in model.parameters():
        parameter.data += 0.1 * torch.randn(parameter.shape, generator=generator)
    return model


@pytest.fixture
def rows(generator):
    """Scaled rows of one layer, each member its own: (M, B, 1, d)."""
    return torch.randn(MEMBERS, 7, 1, D, generator=generator)


@pytest.fixture
def codes():
    """The codes of the rows' classes: (M, B, L)."""
    y = torch.arange(MEMBERS * 7).reshape(MEMBERS, 7) % 4
    return torch.as_tensor(label_codes("sinusoidal", 4, WIDTH), dtype=torch.float32)[y]


def test_a_row_of_one_layer_is_its_own_condition(rows):
    model = make()
    x1, condition = model.split(rows)
    torch.testing.assert_close(x1, rows[:, :, 0] @ model.lift)
    assert torch.equal(condition, rows)
    torch.testing.assert_close(x1.norm(dim=-1), rows[:, :, 0].norm(dim=-1))


def test_of_several_layers_the_last_starts_and_the_others_condition(generator):
    model, rows = make(n_layers=4), torch.randn(2, 6, 4, D, generator=generator)
    x1, condition = model.split(rows)
    torch.testing.assert_close(x1, rows[:, :, 3] @ model.lift)
    assert torch.equal(condition, rows[:, :, :3])


def test_loss_is_the_squared_error_at_the_drawn_time(rows, codes):
    model = make()
    losses = model.loss(rows, codes, torch.Generator().manual_seed(3))
    assert losses.shape == (MEMBERS, 7)
    again = torch.Generator().manual_seed(3)  # the loss draws times first, then noise
    x1, condition = model.split(rows)
    t = 0.001 + 0.999 * torch.rand(MEMBERS, 7, generator=again)
    noise = torch.randn(MEMBERS, 7, WIDTH, generator=again)
    x_t = model.path.sample(codes, x1, t, noise)
    torch.testing.assert_close(losses, (model.network(x_t, condition, t) - codes).pow(2).mean(-1))


def test_terminal_loss_needs_no_noise(rows, codes):
    """At t = 1 the state is x1: nothing is drawn, and sigma does not matter."""
    generator = torch.Generator().manual_seed(3)
    before = generator.get_state()
    model = make(time_sampling="terminal")
    losses = model.loss(rows, codes, generator)
    assert torch.equal(before, generator.get_state())
    x1, condition = model.split(rows)
    expected = (model.network(x1, condition, torch.tensor(1.0)) - codes).pow(2).mean(-1)
    torch.testing.assert_close(losses, expected)
    torch.testing.assert_close(make(time_sampling="terminal", sigma=4.0).loss(rows, codes, generator), expected)


@pytest.mark.parametrize("changes", [{"variance_schedule": "constant"}, {"t_max": 0.9}])
def test_terminal_loss_draws_noise_where_the_state_has_some(rows, codes, changes):
    model = make(time_sampling="terminal", **changes)
    one, other = (model.loss(rows, codes, torch.Generator().manual_seed(seed)) for seed in (1, 2))
    assert not torch.allclose(one, other)


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("time_sampling", ["terminal", "uniform"])
def test_every_objective_has_a_finite_loss_and_gradient(rows, codes, generator, objective, time_sampling):
    model = make(objective=objective, time_sampling=time_sampling, t_min=0.0)
    losses = model.loss(rows, codes, generator)
    losses.sum().backward()
    assert losses.isfinite().all()
    for parameter in model.parameters():
        assert parameter.grad.isfinite().all()


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("name", SOLVERS)
@pytest.mark.parametrize("n_steps", [1, 4])
def test_every_objective_can_be_solved_by_every_solver(rows, generator, objective, name, n_steps):
    model, noise = make(objective=objective, steepness=1.0), torch.randn(n_steps, WIDTH, generator=generator)
    calls = []
    model.network.register_forward_hook(lambda *_: calls.append(1))
    with torch.inference_mode():
        states = model.transport(rows[:1], solver=name, n_steps=n_steps, noise=noise)
    assert states.shape == (n_steps + 1, MEMBERS, 7, WIDTH)
    assert states.isfinite().all()
    assert len(calls) == n_steps * SOLVERS[name]().calls_per_step


@pytest.mark.parametrize("n_steps", [1, 3])
def test_every_member_goes_its_own_way(rows, n_steps):
    """On rows of its own, or on the same rows as the others."""
    model = make()
    with torch.inference_mode():
        states = model.transport(rows, solver="exact", n_steps=n_steps)
        shared = model.transport(rows[:1], solver="exact", n_steps=n_steps)
        x1, condition = model.split(rows)
        estimates = model.network(x1, condition, torch.tensor(1.0))
    assert states.shape == shared.shape == (n_steps + 1, MEMBERS, 7, WIDTH)
    torch.testing.assert_close(states[0], x1)
    torch.testing.assert_close(shared[:, 0], states[:, 0])
    assert not torch.allclose(shared[:, 1], states[:, 1])
    if n_steps == 1:
        torch.testing.assert_close(states[1], estimates)


def test_codes_come_in_the_models_precision():
    model = make().double()
    codes = model.codes("sinusoidal", 3)
    assert codes.dtype == torch.float64
    np.testing.assert_array_equal(codes.numpy(), label_codes("sinusoidal", 3, WIDTH))


def test_a_double_model_has_a_double_loss(rows, codes):
    """Nothing on the way may round to float32."""
    model = make(time_sampling="terminal").double()
    losses = model.loss(rows.double(), codes.double(), torch.Generator())
    x1, condition = model.split(rows.double())
    expected = (model.network(x1, condition, torch.tensor(1.0).double()) - codes.double()).pow(2).mean(-1)
    torch.testing.assert_close(losses, expected, rtol=1e-13, atol=1e-13)


def test_reduced_precision_leaves_times_and_states_alone(rows, codes):
    """In bfloat16 the time .999 would be 1, where velocities are infinite."""
    seen = []
    model = make(objective="velocity", time_sampling="terminal")
    model.network.register_forward_pre_hook(lambda _, inputs: seen.extend(inputs[:3]))
    losses = model.loss(rows, codes, torch.Generator().manual_seed(0), torch.bfloat16)
    assert losses.isfinite().all()
    assert {x.dtype for x in seen} == {torch.float32}


def test_members_take_turns_in_the_view_they_see():
    """Each is the model of one view that has its weights."""
    rows = torch.randn(1, 7, 2, D, generator=torch.Generator().manual_seed(1))
    mixed = make(n_views=2)
    found = mixed.transport(rows, solver="exact", n_steps=1)[-1]
    for view in (0, 1):
        plain = make()
        plain.network.load_state_dict(mixed.network.state_dict())
        expected = plain.transport(rows[:, :, view : view + 1], solver="exact", n_steps=1)[-1]
        torch.testing.assert_close(found[view::2], expected[view::2])


def test_frequencies_start_at_zero_where_the_view_is_not_the_first():
    shape = NetworkShape(n_features=D, n_members=3, n_views=2, n_frequencies=2)
    model = TransportModel(shape, make().settings, lift_matrix("orthogonal", D, 128, 0))
    assert [bool(f.any()) for f in model.network.embedding.frequencies] == [True, False, True]
