"""Solvers: the exact step's identities, orders of convergence, calls counted."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.autograd.functional import jacobian

from gendiffclf.transport.path import Path
from gendiffclf.transport.schedules import MEAN_SCHEDULES, VARIANCE_SCHEDULES, mean_schedule
from gendiffclf.transport.solvers import SOLVERS, step_noise, time_grid, transport

DETERMINISTIC = [name for name in SOLVERS if name != "stochastic"]


def make_path(mean="logistic", variance="bridge", steepness=5.0, sigma=0.5) -> Path:
    return Path(mean_schedule(mean, steepness), VARIANCE_SCHEDULES[variance](sigma))


class CountedEstimate:
    """x̂0 = target + slope · x_t, and the times at which it was asked."""

    def __init__(self, target: torch.Tensor, slope: float = 0.0) -> None:
        self.target, self.slope = target, slope
        self.times: list[float] = []

    def __call__(self, x_t: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        assert t.shape == ()
        self.times.append(float(t))
        return self.target + self.slope * x_t


@pytest.fixture
def ends(generator):
    """Codes and features of 3 rows in 4 dimensions."""
    return torch.randn(2, 3, 4, dtype=torch.float64, generator=generator).unbind()


@pytest.mark.parametrize("name", SOLVERS)
@pytest.mark.parametrize("n_steps", [1, 2, 7])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_solver_keeps_its_contract(ends, name, n_steps, dtype):
    x0, x1 = (x.to(dtype) for x in ends)
    estimate = CountedEstimate(x0, 0.3)
    states = transport(SOLVERS[name](), make_path(), estimate, x1, n_steps=n_steps)
    assert states.shape == (n_steps + 1, 3, 4)
    assert states.dtype == dtype
    assert states.isfinite().all()
    assert torch.equal(states[0], x1)
    assert len(estimate.times) == n_steps * (2 if name == "midpoint" else 1)
    assert estimate.times[0] == 1
    assert min(estimate.times) > 0
    assert estimate.times == sorted(estimate.times, reverse=True)


@pytest.mark.parametrize("name", SOLVERS)
def test_rows_do_not_see_each_other(ends, name):
    x0, x1 = ends

    def end(rows):
        return transport(SOLVERS[name](), make_path(), CountedEstimate(x0[rows], 0.3), x1[rows], n_steps=4)[-1]

    torch.testing.assert_close(end(slice(1, 2)), end(slice(None))[1:2])


@pytest.mark.parametrize("name", SOLVERS)
def test_a_frozen_estimate_is_reached(ends, name):
    x0, x1 = ends
    end = transport(SOLVERS[name](), make_path(), CountedEstimate(x0), x1, n_steps=512)[-1]
    torch.testing.assert_close(end, x0, rtol=0, atol=0.01)


@pytest.mark.parametrize("mean", MEAN_SCHEDULES)
@pytest.mark.parametrize("variance", VARIANCE_SCHEDULES)
def test_one_exact_step_is_the_estimate(ends, mean, variance):
    x0, x1 = ends
    estimate = CountedEstimate(x0, 0.3)
    end = transport(SOLVERS["exact"](), make_path(mean, variance), estimate, x1, n_steps=1)[-1]
    torch.testing.assert_close(end, x0 + 0.3 * x1)
    assert estimate.times == [1]


@pytest.mark.parametrize("n_steps", [1, 2, 3, 20])
def test_exact_steps_of_a_frozen_estimate_end_at_it_however_many(ends, n_steps):
    x0, x1 = ends
    end = transport(SOLVERS["exact"](), make_path(), CountedEstimate(x0), x1, n_steps=n_steps)[-1]
    torch.testing.assert_close(end, x0, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("mean", MEAN_SCHEDULES)
@pytest.mark.parametrize("variance", VARIANCE_SCHEDULES)
@given(times=st.lists(st.floats(0, 0.99), min_size=3, max_size=3, unique=True), steepness=st.floats(0, 20))
def test_exact_steps_compose(mean, variance, times, steepness):
    """From any state, t to s to r is t to r: the step is the flow itself."""
    x0, x1, x = torch.randn(3, 2, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).unbind()
    r, s, t = (torch.tensor(time, dtype=torch.float64) for time in sorted(times))
    path, step = make_path(mean, variance, steepness), SOLVERS["exact"]().step
    estimate, noise = CountedEstimate(x0), torch.zeros(4)
    half_way = step(path, estimate, x, x1, t, s, noise)
    torch.testing.assert_close(
        step(path, estimate, half_way, x1, s, r, noise), step(path, estimate, x, x1, t, r, noise), rtol=1e-8, atol=1e-8
    )


@pytest.mark.parametrize("variance", ["bridge", "constant"])
def test_the_exact_step_keeps_what_is_off_the_mean(ends, variance):
    """In proportion to the path's deviation; so a step of no length stays where it is."""
    x0, x1 = ends
    path, step, x = make_path(variance=variance), SOLVERS["exact"]().step, torch.full((3, 4), 0.7, dtype=torch.float64)
    t, s = (torch.tensor(time, dtype=torch.float64) for time in (0.8, 0.3))
    torch.testing.assert_close(step(path, CountedEstimate(x0), x, x1, t, t, torch.zeros(4)), x)
    off_mean = step(path, CountedEstimate(x0), x, x1, t, s, torch.zeros(4)) - path.position(x0, x1, s)
    share = (0.3 * 0.7 / (0.8 * 0.2)) ** 0.5 if variance == "bridge" else 1
    torch.testing.assert_close(off_mean, share * (x - path.position(x0, x1, t)))


def test_the_exact_step_solves_the_field(ends):
    """Its derivative by the end time is the field of Eq. 9."""
    x0, x1 = ends
    path, step, x = make_path(), SOLVERS["exact"]().step, torch.full((3, 4), 0.7, dtype=torch.float64)
    t, s = (torch.tensor(time, dtype=torch.float64) for time in (0.8, 0.3))

    def state(s):
        return step(path, CountedEstimate(x0), x, x1, t, s, torch.zeros(4))

    torch.testing.assert_close(path.field(state(s), x0, x1, s), jacobian(state, s))


@pytest.mark.parametrize("name", DETERMINISTIC)
def test_sigma_cancels_from_deterministic_transport(ends, name):
    x0, x1 = ends
    small, large = (
        transport(SOLVERS[name](), make_path(sigma=sigma), CountedEstimate(x0, 0.3), x1, n_steps=6)
        for sigma in (0.01, 5.0)
    )
    torch.testing.assert_close(small, large)


def error(name: str, n_steps: int, ends) -> float:
    """Distance of a smooth problem's end to that of very many exact steps, on a path without singular ends."""
    x0, x1 = ends
    path = make_path(variance="zero")

    def end(name, n_steps):
        return transport(SOLVERS[name](), path, CountedEstimate(x0, 0.3), x1, n_steps=n_steps)[-1]

    return (end(name, n_steps) - end("midpoint", 1024)).norm().item()


@pytest.mark.parametrize(("name", "order"), [("euler", 1), ("midpoint", 2)])
def test_order_of_convergence(ends, name, order):
    assert error(name, 64, ends) / error(name, 128, ends) == pytest.approx(2**order, rel=0.06)


def test_euler_is_of_first_order_on_the_bridge(ends):
    x0, x1 = ends
    errors = [
        (transport(SOLVERS["euler"](), make_path(), CountedEstimate(x0), x1, n_steps=n)[-1] - x0).norm().item()
        for n in (200, 400, 800)
    ]
    assert errors[0] / errors[1] == pytest.approx(2, rel=0.05)
    assert errors[1] / errors[2] == pytest.approx(2, rel=0.05)


@pytest.mark.parametrize(("steepness", "share"), [(0, 0.50), (5, 0.21), (10, 0.034)])
def test_share_of_the_way_that_one_euler_step_covers(ends, steepness, share):
    x0, x1 = ends
    end = transport(SOLVERS["euler"](), make_path(steepness=steepness), CountedEstimate(x0), x1, n_steps=1)[-1]
    torch.testing.assert_close((x1 - end) / (x1 - x0), torch.full_like(x0, share), rtol=0, atol=0.005)
    assert ((x1 - end) / (x1 - x0)).mean().item() == pytest.approx(share, rel=0.02)


def test_stochastic_states_have_the_noise_of_the_path(ends):
    x0, x1 = ends
    path, n_steps = make_path(sigma=0.8), 4
    states = transport(SOLVERS["stochastic"](), path, CountedEstimate(x0), x1, n_steps=n_steps)
    for i in range(1, n_steps):
        t = torch.tensor(1 - i / n_steps, dtype=torch.float64)
        z = (states[i] - path.position(x0, x1, t)) / path.variance(t)
        torch.testing.assert_close(z, step_noise(n_steps, 4)[i - 1].double().expand(3, 4))
    torch.testing.assert_close(states[-1], x0)


@pytest.mark.parametrize("t_max", [0.5, 0.9])
def test_transport_may_start_before_1(ends, t_max):
    x0, x1 = ends
    estimate = CountedEstimate(x0)
    end = transport(SOLVERS["exact"](), make_path(), estimate, x1, n_steps=4, t_max=t_max)[-1]
    torch.testing.assert_close(end, x0)
    assert estimate.times == pytest.approx([t_max, t_max * 3 / 4, t_max / 2, t_max / 4])


def test_the_grid_ends_at_0_exactly():
    for n_steps in (1, 3, 10, 1000):
        grid = time_grid(n_steps, 0.9, torch.zeros(1))
        assert grid.dtype == torch.float32
        assert grid[0] == torch.tensor(0.9)
        assert grid[-1] == 0


def test_the_noise_of_steps_is_always_the_same():
    before = torch.get_rng_state()
    noise = step_noise(3, 5)
    step_noise.cache_clear()
    assert torch.equal(step_noise(3, 5), noise)
    assert step_noise(3, 5).shape == (3, 5)
    assert torch.equal(before, torch.get_rng_state())
