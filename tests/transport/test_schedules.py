"""Mean and variance schedules against the paper's printed forms and autograd."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gendiffclf.transport.schedules import (
    MEAN_SCHEDULES,
    VARIANCE_SCHEDULES,
    BridgeVariance,
    LogisticMean,
    mean_schedule,
)

STEEPNESSES = (0, 1e-6, 1e-3, 0.1, 1.0, 5.0, 10.0, 50.0, 180.0, 200.0)
MEANS = [*((kind, 10.0) for kind in MEAN_SCHEDULES), *(("logistic", k) for k in STEEPNESSES)]
times = st.floats(0, 1, width=32)


def derivative(function, t: torch.Tensor) -> torch.Tensor:
    t = t.clone().requires_grad_()
    return torch.autograd.grad(function(t).sum(), t)[0]


@pytest.mark.parametrize(("kind", "steepness"), MEANS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_mean_runs_from_0_to_1_symmetrically_and_never_back(kind, steepness, dtype):
    t = torch.linspace(0, 1, 201, dtype=dtype)
    m = mean_schedule(kind, steepness)(t)
    rounding = 4 * torch.finfo(dtype).eps
    assert m.value.dtype == m.slope.dtype == dtype
    assert m.value.shape == m.slope.shape == t.shape
    assert m.value[0].item() == pytest.approx(0, abs=rounding)
    assert m.value[-1].item() == pytest.approx(1, abs=rounding)
    torch.testing.assert_close(m.value + m.value.flip(0), torch.ones_like(t), rtol=0, atol=4 * rounding)
    assert (m.value.diff() >= -rounding).all()
    assert (m.slope >= -rounding).all()


@pytest.mark.parametrize(("kind", "steepness"), MEANS)
def test_slope_of_the_mean_is_its_derivative(kind, steepness):
    t = torch.linspace(0, 1, 101, dtype=torch.float64)
    mean = mean_schedule(kind, steepness)
    torch.testing.assert_close(mean(t).slope, derivative(lambda t: mean(t).value, t), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("k", [0.1, 1.0, 5.0, 10.0, 50.0, 200.0])
def test_logistic_mean_is_the_printed_form(k):
    """Eq. 6 as printed, in float64, where it is accurate for these k."""
    t = torch.linspace(0, 1, 101, dtype=torch.float64)
    printed = ((1 + math.exp(k / 2)) / (1 + torch.exp(-k * (t - 0.5))) - 1) / math.expm1(k / 2)
    torch.testing.assert_close(LogisticMean(k)(t).value, printed, rtol=0, atol=1e-13)


@given(k=st.floats(0, 200), t=times)
def test_logistic_mean_is_stable_in_float32(k, t):
    single = LogisticMean(k)(torch.tensor(t, dtype=torch.float32))
    double = LogisticMean(k)(torch.tensor(t, dtype=torch.float64))
    assert single.value.item() == pytest.approx(double.value.item(), abs=2e-7)
    assert single.slope.item() == pytest.approx(double.slope.item(), rel=1e-4, abs=1e-30)


@given(k=st.floats(0, 0.01), t=times)
def test_a_flat_logistic_mean_is_a_line(k, t):
    m = LogisticMean(k)(torch.tensor(t, dtype=torch.float64))
    assert m.value.item() == pytest.approx(t, abs=k**2 / 50)
    assert m.slope.item() == pytest.approx(1, abs=k**2 / 10)


@pytest.mark.parametrize("kind", VARIANCE_SCHEDULES)
def test_rate_is_the_logarithmic_derivative_of_the_deviation(kind):
    t = torch.linspace(0.01, 0.99, 99, dtype=torch.float64)
    variance = VARIANCE_SCHEDULES[kind](0.7)
    if kind == "zero":
        assert (variance(t) == 0).all()
        assert (variance.rate(t) == 0).all()
    else:
        slope = derivative(lambda t: variance(t) + 0 * t, t)
        torch.testing.assert_close(variance.rate(t), slope / variance(t), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("kind", VARIANCE_SCHEDULES)
def test_end_rate_is_the_limit_at_1(kind):
    variance = VARIANCE_SCHEDULES[kind](0.7)
    near = torch.tensor(1 - 1e-9, dtype=torch.float64)
    assert ((1 - near) * variance.rate(near)).item() == pytest.approx(variance.end_rate, abs=1e-6)


def test_bridge_has_no_noise_at_the_ends_and_half_of_sigma_in_the_middle():
    t = torch.tensor([0.0, 0.5, 1.0, 1 + 1e-7])
    torch.testing.assert_close(BridgeVariance(3.0)(t), torch.tensor([0.0, 1.5, 0.0, 0.0]))


def test_rate_of_the_bridge_near_the_ends():
    rate = BridgeVariance(0.5).rate(torch.tensor([0.001, 0.5, 0.999], dtype=torch.float64))
    torch.testing.assert_close(rate, torch.tensor([499.4994995, 0, -499.4994995], dtype=torch.float64))
