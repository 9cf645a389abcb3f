"""Objectives, settings, training targets and transport of the learned path."""

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import clone
from torch.autograd.functional import jacobian

from gendiffclf.transport.codes import label_codes
from gendiffclf.transport.exact import posterior, walk
from gendiffclf.transport.learned import INTERIOR, OBJECTIVES, LearnedPath, carry, draw
from gendiffclf.transport.path import Path
from gendiffclf.transport.schedules import MEAN_SCHEDULES, VARIANCE_SCHEDULES, mean_schedule
from gendiffclf.transport.solvers import SOLVERS
from gendiffclf.transport.times import TIME_SAMPLERS

PATHS = list(itertools.product(MEAN_SCHEDULES, VARIANCE_SCHEDULES))
DEFAULTS = {
    "mean": "logistic",
    "steepness": 10.0,
    "variance": "bridge",
    "sigma": 0.5,
    "objective": "target",
    "time_sampling": "uniform",
    "t_min": 0.001,
    "t_max": 1.0,
    "solver": "exact",
    "n_steps": 10,
    "time_width": 32,
}


def make_path(mean="logistic", variance="bridge", steepness=10.0, sigma=0.5) -> Path:
    return Path(mean_schedule(mean, steepness), VARIANCE_SCHEDULES[variance](sigma))


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize(("mean", "variance"), PATHS)
@given(t=st.floats(0.01, 0.99), steepness=st.floats(0, 10), sigma=st.floats(0.01, 3))
def test_a_true_target_gives_the_code_back(objective, mean, variance, t, steepness, sigma):
    x0, x1, noise = torch.randn(3, 2, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).unbind()
    path, t = make_path(mean, variance, steepness, sigma), torch.full((2,), t, dtype=torch.float64)
    x_t = path.sample(x0, x1, t, noise)
    learner = OBJECTIVES[objective]()
    target = learner.target(path, x0, x1, t, noise)
    assert target.shape == x0.shape
    torch.testing.assert_close(learner.x0_hat(path, target, x_t, x1, t), x0, rtol=1e-7, atol=1e-7)


def test_velocity_target_is_the_derivative_of_the_state(ends):
    x0, x1, noise = ends
    path, t = make_path(), torch.tensor(0.35, dtype=torch.float64)
    motion = jacobian(lambda t: path.sample(x0, x1, t, noise), t)
    torch.testing.assert_close(OBJECTIVES["velocity"]().target(path, x0, x1, t, noise), motion)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_estimates_stay_finite_where_the_target_says_nothing(objective):
    """For k = 200 neither velocity nor noise determines the code near t = 1."""
    path, t = make_path(steepness=200.0), torch.tensor(0.999)
    x1 = torch.ones(1, 8)
    assert OBJECTIVES[objective]().x0_hat(path, torch.ones(1, 8), x1, x1, t).isfinite().all()


def test_parameters_are_stored_and_cloned():
    learned = LearnedPath()
    assert learned.get_params() == DEFAULTS
    learned.check()
    changed = learned.set_params(steepness=5.0, solver="stochastic")
    assert clone(changed).get_params() == {**DEFAULTS, "steepness": 5.0, "solver": "stochastic"}
    assert repr(changed) == "LearnedPath(solver='stochastic', steepness=5.0)"
    assert changed.path() == make_path(steepness=5.0)


@pytest.mark.parametrize(("mean", "variance"), PATHS)
def test_the_path_has_the_schedules_of_the_parameters(mean, variance):
    assert LearnedPath(mean, 3.0, variance, 0.7).path() == make_path(mean, variance, 3.0, 0.7)


REFUSALS = [
    ({"mean": "cubic"}, r"Got mean='cubic', expected one of 'logistic', 'linear', 'cosine'\."),
    ({"steepness": 201}, r"Got steepness=201, expected a number in \[0, 200\]\."),
    ({"variance": None}, r"Got variance=None, expected one of 'bridge', 'constant', 'zero'\."),
    ({"sigma": 0}, r"Got sigma=0, expected a number in \(0, inf\)\."),
    ({"objective": "code"}, r"Got objective='code', expected one of 'target', 'velocity', 'noise'\."),
    (
        {"time_sampling": "auto"},
        r"Got time_sampling='auto', expected one of 'uniform', 'biased', 'terminal', 'mixed', ",
    ),
    ({"t_max": 1.1}, r"Got t_max=1\.1, expected a number in \(0, 1\]\."),
    ({"t_max": 0}, r"Got t_max=0, expected a number in \(0, 1\]\."),
    ({"t_min": -0.1}, r"Got t_min=-0\.1, expected a number in \[0, 1\.0\)\."),
    ({"t_min": 0.5, "t_max": 0.5}, r"Got t_min=0\.5, expected a number in \[0, 0\.5\)\."),
    ({"solver": "heun"}, r"Got solver='heun', expected one of 'exact', 'euler', 'midpoint', 'stochastic'\."),
    ({"n_steps": 0}, r"Got n_steps=0, expected an integer >= 1\."),
    ({"n_steps": 2.0}, r"Got n_steps=2\.0, expected an integer >= 1\."),
    ({"time_width": 0}, r"Got time_width=0, expected an integer >= 1\."),
    (
        {"objective": "noise", "variance": "zero"},
        r"Got objective='noise' with variance='zero', expected a path with noise to learn; use variance='bridge', or ",
    ),
    (
        {"time_sampling": "terminal", "objective": "velocity", "n_steps": 1},
        r"Got time_sampling='terminal' with objective='velocity', which does not .*; use time_sampling='uniform', or ",
    ),
    (
        {"time_sampling": "terminal", "objective": "noise", "n_steps": 1},
        r"Got time_sampling='terminal' with objective='noise', which does not .*; use time_sampling='uniform', or ",
    ),
    (
        {"time_sampling": "terminal"},
        r"Got time_sampling='terminal' with n_steps=10, expected n_steps=1, as .* trained; use n_steps=1, or ",
    ),
    (
        {"solver": "euler", "n_steps": 1},
        r"Got solver='euler' with n_steps=1, expected n_steps >= 2, .*; use n_steps=10, or ",
    ),
    (
        {"solver": "midpoint", "n_steps": 1},
        r"Got solver='midpoint' with n_steps=1, expected n_steps >= 2, .*; use n_steps",
    ),
    (
        {"objective": "velocity", "t_min": 0.9995},
        r"Got objective='velocity' with t_min=0\.9995 and t_max=1\.0, expected times inside \(0\.001, 0\.999\); use t_min=",
    ),
    (
        {"objective": "noise", "t_min": 0.0, "t_max": 0.001},
        r"Got objective='noise' with t_min=0\.0 and t_max=0\.001, expected times inside \(0\.001, 0\.999\); use t_min=",
    ),
]


@pytest.mark.parametrize(("changes", "message"), REFUSALS)
def test_what_cannot_work_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        LearnedPath(**changes).check()


@pytest.mark.parametrize(
    "settings",
    [
        {"time_sampling": "terminal", "n_steps": 1},
        {"solver": "stochastic", "n_steps": 1},
        {"solver": "euler", "n_steps": 2},
        {"objective": "velocity", "variance": "zero", "t_min": 0},
        {"steepness": 0, "t_min": 0, "t_max": 0.5},
    ],
)
def test_what_can_work_is_not(settings):
    LearnedPath(**settings).check()


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("time_sampling", [name for name in TIME_SAMPLERS if name != "terminal"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_drawn_states_and_targets_follow_the_formulas(objective, time_sampling, dtype, generator):
    learned = LearnedPath(objective=objective, time_sampling=time_sampling, t_min=0.0, steepness=5.0, sigma=0.8)
    x0, x1 = torch.randn(2, 3, 400, 6, generator=generator, dtype=dtype).unbind()
    x_t, t, target = draw(learned, x0, x1, generator)
    assert x_t.dtype == t.dtype == target.dtype == dtype
    assert x_t.shape == target.shape == x1.shape
    assert t.shape == (3, 400)
    low, high = (0, 1) if objective == "target" else (INTERIOR, 1 - INTERIOR)
    assert low - 1e-6 <= t.min() < 0.1
    assert 0.9 < t.max() <= high + 1e-6
    path, inside = learned.path(), (t > 0.05) & (t < 0.95)
    noise = ((x_t - path.position(x0, x1, t)) / path.variance(t)[..., None])[inside]
    assert noise.mean().item() == pytest.approx(0, abs=0.06)
    assert noise.std().item() == pytest.approx(1, abs=0.05)
    x0, x1, t, target = x0[inside], x1[inside], t[inside], target[inside]
    expected = {
        "target": x0,
        "noise": noise,
        "velocity": (path.variance.rate(t) * path.variance(t))[:, None] * noise
        + path.mean(t).slope[:, None] * (x1 - x0),
    }[objective]
    tolerance = 1e-3 if dtype == torch.float32 else 1e-11
    torch.testing.assert_close(target, expected, rtol=tolerance, atol=tolerance)


def test_terminal_draws_are_at_the_features(ends, generator):
    x0, x1, _ = ends
    x_t, t, target = draw(LearnedPath(time_sampling="terminal", n_steps=1), x0, x1, generator)
    torch.testing.assert_close(x_t, x1)
    assert (t == 1).all()
    assert torch.equal(target, x0)


def test_draws_come_from_the_generator_alone(ends):
    before = torch.get_rng_state()
    first, second = (draw(LearnedPath(), *ends[:2], torch.Generator().manual_seed(7)) for _ in range(2))
    assert all(map(torch.equal, first, second))
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("n_steps", [1, 2, 10])
def test_a_constant_network_is_reached_by_exact_steps(ends, n_steps):
    x0, x1, _ = ends
    states = carry(LearnedPath(n_steps=n_steps), lambda x_t, t: x0, x1)
    assert states.shape == (n_steps + 1, 5, 8)
    assert torch.equal(states[0], x1)
    torch.testing.assert_close(states[-1], x0)


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("solver", SOLVERS)
def test_every_objective_leads_to_the_code(objective, solver, ends):
    """A network that returns the true target of its state, where the objective determines the code."""
    x0, x1, _ = ends
    learned = LearnedPath(objective=objective, solver=solver, n_steps=300, t_max=0.9)
    path, times = learned.path(), []

    def network(x_t, t):
        times.append(t.item())
        noise = (x_t - path.position(x0, x1, t)) / path.variance(t)
        return OBJECTIVES[objective]().target(path, x0, x1, t.expand(5), noise)

    states = carry(learned, network, x1)
    torch.testing.assert_close(states[-1], x0, rtol=0, atol=0.03)
    assert len(times) == 300 * (2 if solver == "midpoint" else 1)
    assert max(times) == 0.9


@pytest.mark.parametrize("objective", ["velocity", "noise"])
def test_singular_objectives_ask_the_network_inside_alone(objective, ends):
    times = []

    def network(x_t, t):
        times.append(t.item())
        return x_t

    states = carry(LearnedPath(objective=objective), network, ends[1])
    assert states.isfinite().all()
    assert max(times) == 1 - INTERIOR


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_network_of_the_exact_posterior_makes_the_exact_walk(solver, dtype, generator):
    codes = torch.as_tensor(label_codes("sinusoidal", 4, 12))
    p = torch.rand(20, 4, dtype=torch.float64, generator=generator)
    p, x1 = p / p.sum(-1, keepdim=True), torch.randn(20, 12, dtype=torch.float64, generator=generator).to(dtype)
    learned = LearnedPath(solver=solver, n_steps=5)

    def network(x_t, t):
        return (posterior(learned.path(), p, x_t, x1, codes, t) @ codes).to(dtype)

    states = carry(learned, network, x1)
    assert states.dtype == dtype
    if dtype == torch.float64:
        torch.testing.assert_close(states, walk(learned.path(), p, x1, codes, n_steps=5, solver=solver))


def test_steps_and_solver_may_be_replaced(ends):
    x0, x1, _ = ends
    learned = LearnedPath()

    def network(x_t, t):
        return x0 + 0.3 * x_t

    replaced = carry(learned, network, x1, n_steps=4, solver="midpoint")
    torch.testing.assert_close(replaced, carry(LearnedPath(n_steps=4, solver="midpoint"), network, x1))
    assert learned.get_params() == DEFAULTS


@pytest.mark.parametrize(
    ("learned", "changes", "message"),
    [
        (LearnedPath(), {"n_steps": 0}, r"Got n_steps=0, expected"),
        (LearnedPath(), {"solver": "heun"}, r"Got solver='heun', expected"),
        (LearnedPath(solver="euler"), {"n_steps": 1}, r"Got solver='euler' with n_steps=1, expected"),
        (
            LearnedPath(time_sampling="terminal", n_steps=1),
            {"n_steps": 2},
            r"Got time_sampling='terminal' with n_steps=2,",
        ),
    ],
)
def test_steps_that_the_training_does_not_allow_are_refused(ends, learned, changes, message):
    with pytest.raises(ValueError, match=message):
        carry(learned, lambda x_t, t: x_t, ends[1], **changes)
