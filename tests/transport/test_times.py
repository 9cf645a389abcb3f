"""Sampled training times."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gendiffclf.transport.times import TIME_SAMPLERS, sample_times


@pytest.mark.parametrize("kind", TIME_SAMPLERS)
@given(t_min=st.floats(0, 0.4), t_max=st.floats(0.5, 1), seed=st.integers(0, 9))
def test_times_stay_in_their_interval(kind, t_min, t_max, seed):
    generator = torch.Generator().manual_seed(seed)
    times = sample_times(kind, (3, 40), t_min, t_max, generator)
    assert times.shape == (3, 40)
    assert times.dtype == torch.float32
    assert times.min() >= t_min - 1e-7
    assert times.max() <= min(1, t_max + 1e-7)


@pytest.mark.parametrize("kind", TIME_SAMPLERS)
def test_times_come_from_the_generator_alone(kind):
    before = torch.get_rng_state()
    first, second = (sample_times(kind, (50,), 0.0, 1.0, torch.Generator().manual_seed(7)) for _ in range(2))
    assert torch.equal(first, second)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize(
    ("kind", "mean", "median", "at_end"),
    [
        ("uniform", 0.5, 0.5, 0),
        ("biased", 0.75, 0.8133, 0),  # of 1 - u v; u v has the median that solves x (1 - ln x) = 1/2
        ("terminal", 1, 1, 1),
        ("mixed", 0.75, 1, 0.5),
        ("logit_normal", 0.5, 0.5, 0),
    ],
)
def test_distribution_of_times(kind, mean, median, at_end, generator):
    times = sample_times(kind, (100_001,), 0.0, 1.0, generator).double()
    assert times.mean().item() == pytest.approx(mean, abs=0.005)
    assert times.median().item() == pytest.approx(median, abs=0.01)
    assert (times == 1).double().mean().item() == pytest.approx(at_end, abs=0.01)


def test_every_sampler_has_a_row_above():
    tested = {"uniform", "biased", "terminal", "mixed", "logit_normal"}
    assert set(TIME_SAMPLERS) == tested, "give the new sampler a row in test_distribution_of_times"
