"""Positions, states and vector field of the path."""

import itertools

import pytest
import torch
from torch.autograd.functional import jacobian

from gendiffclf.transport.path import Path
from gendiffclf.transport.schedules import MEAN_SCHEDULES, VARIANCE_SCHEDULES, mean_schedule

PATHS = list(itertools.product(MEAN_SCHEDULES, VARIANCE_SCHEDULES))


def make_path(mean="logistic", variance="bridge", steepness=10.0, sigma=0.5) -> Path:
    return Path(mean_schedule(mean, steepness), VARIANCE_SCHEDULES[variance](sigma))


@pytest.mark.parametrize(("mean", "variance"), PATHS)
def test_path_ends_at_code_and_features(ends, mean, variance):
    x0, x1, _ = ends
    path = make_path(mean, variance)
    torch.testing.assert_close(path.position(x0, x1, torch.zeros(5, dtype=x0.dtype)), x0)
    torch.testing.assert_close(path.position(x0, x1, torch.ones(5, dtype=x0.dtype)), x1)


def test_states_have_the_mean_and_deviation_of_the_path(generator):
    path, t = make_path(sigma=0.8), torch.tensor(0.3, dtype=torch.float64)
    x0, x1 = torch.tensor([-1.0, 2.0]).double(), torch.tensor([1.0, 1.0]).double()
    noise = torch.randn(200_000, 2, dtype=torch.float64, generator=generator)
    x_t = path.sample(x0, x1, t, noise)
    m = mean_schedule("logistic", 10.0)(t).value
    torch.testing.assert_close(x_t.mean(0), x0 + m * (x1 - x0), rtol=0, atol=4e-3)
    torch.testing.assert_close(x_t.std(0), torch.full((2,), 0.8 * (0.3 * 0.7) ** 0.5).double(), rtol=0, atol=4e-3)


@pytest.mark.parametrize(("mean", "variance"), PATHS)
def test_field_is_the_derivative_of_a_state_by_time(ends, mean, variance):
    """For true x0 and any noise, u(x_t, t) is how x_t moves."""
    x0, x1, noise = ends
    path = make_path(mean, variance)
    for time in (0.05, 0.3, 0.5, 0.8, 0.97):
        t = torch.tensor(time, dtype=torch.float64)
        motion = jacobian(lambda t: path.sample(x0, x1, t, noise), t)
        x_t = path.sample(x0, x1, t, noise)
        torch.testing.assert_close(path.field(x_t, x0, x1, t), motion, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("mean", MEAN_SCHEDULES)
@pytest.mark.parametrize(("variance", "share"), [("bridge", 0.5), ("constant", 1.0), ("zero", 1.0)])
def test_the_singularity_at_the_features_is_removable(ends, mean, variance, share):
    x0, x1, _ = ends
    path = make_path(mean, variance)
    end = path.field(x1, x0, x1, torch.tensor(1.0, dtype=torch.float64))
    slope = path.mean(torch.tensor(1.0, dtype=torch.float64)).slope
    torch.testing.assert_close(end, share * slope * (x1 - x0))
    near = path.field(x1, x0, x1, torch.tensor(1 - 1e-5, dtype=torch.float64))
    torch.testing.assert_close(end, near, rtol=1e-3, atol=1e-3)


def test_field_takes_a_time_of_each_row(ends):
    x0, x1, noise = ends
    path, t = make_path(), torch.tensor([0.1, 0.4, 0.6, 0.9, 1.0], dtype=torch.float64)
    x_t = path.sample(x0, x1, t, noise)
    together = path.field(x_t, x0, x1, t)
    for row in range(5):
        torch.testing.assert_close(together[row], path.field(x_t[row], x0[row], x1[row], t[row]))


def test_sigma_cancels_from_the_field(ends):
    x0, x1, x_t = ends
    t = torch.tensor(0.7, dtype=torch.float64)
    small, large = (make_path(sigma=sigma).field(x_t, x0, x1, t) for sigma in (0.01, 5.0))
    torch.testing.assert_close(small, large)
