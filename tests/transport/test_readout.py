"""Projections onto codes and simplex, and positive shares."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from gendiffclf.transport.codes import CODES, label_codes
from gendiffclf.transport.readout import outside_span, positive_shares, project_on_codes, project_on_simplex

score_rows = arrays(np.float64, st.tuples(st.integers(1, 4), st.integers(1, 9)), elements=st.floats(-50, 50))


def simplex_by_bisection(scores: np.ndarray) -> np.ndarray:
    """The projection is max(s - τ, 0) for the one τ that makes it sum to 1."""
    low, high = scores.min() - 1, scores.max()
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if np.maximum(scores - middle, 0).sum() > 1 else (low, middle)
    return np.maximum(scores - low, 0)


@pytest.mark.parametrize("kind", CODES)
def test_projection_gives_the_weights_of_a_mixture_of_codes(kind):
    codes = torch.as_tensor(label_codes(kind, 5, 16))
    weights = torch.tensor([[0.5, 0.2, 0.2, 0.1, 0.0], [-1.0, 0, 3, 0, 0]], dtype=torch.float64)
    torch.testing.assert_close(project_on_codes(weights @ codes, codes), weights)


@given(score_rows)
def test_simplex_projection_against_bisection(scores):
    found = project_on_simplex(torch.as_tensor(scores)).numpy()
    assert (found >= 0).all()
    np.testing.assert_allclose(found.sum(-1), 1, atol=1e-12)
    np.testing.assert_allclose(found, np.apply_along_axis(simplex_by_bisection, -1, scores), atol=1e-10)


@given(score_rows)
def test_simplex_projection_keeps_the_order_and_what_is_on_the_simplex(scores):
    found = project_on_simplex(torch.as_tensor(scores)).numpy()
    sorted_by_score = np.take_along_axis(found, scores.argsort(-1), -1)
    assert (np.diff(sorted_by_score, axis=-1) >= 0).all()
    np.testing.assert_allclose(project_on_simplex(torch.as_tensor(found)).numpy(), found, atol=1e-12)


@given(score_rows)
def test_simplex_projection_in_float32(scores):
    found = project_on_simplex(torch.as_tensor(scores, dtype=torch.float32))
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.sum(-1), torch.ones(len(found)), rtol=0, atol=1e-4)


@given(score_rows, st.floats(0.3, 10), st.floats(0.01, 3))
def test_positive_shares_keep_the_order_and_sum_to_1(scores, sharpness, softness):
    found = positive_shares(torch.as_tensor(scores), sharpness, softness)
    assert (found >= 0).all()
    torch.testing.assert_close(found.sum(-1), torch.ones(len(found), dtype=torch.float64))
    # Equal scores may differ by a rounding error, since vectors and single values take different instructions.
    assert (found.gather(-1, torch.as_tensor(scores).argsort(-1)).diff(dim=-1) >= -1e-15).all()


def test_positive_shares_in_closed_form():
    x = torch.tensor([0.8, 0.2, -0.1], dtype=torch.float64)
    soft = np.log1p(np.exp(x.numpy() / 0.25)) ** 1.5
    np.testing.assert_allclose(positive_shares(x, 1.5, 0.25).numpy(), soft / soft.sum(), rtol=1e-12)


def test_a_small_error_leaves_the_positive_part():
    x = torch.tensor([0.6, 0.4, 0.0, -0.5], dtype=torch.float64)
    torch.testing.assert_close(positive_shares(x, 1.0, 1e-4), x.clamp_min(0), rtol=0, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_positive_shares_of_what_is_far_off_are_finite(dtype):
    x = torch.tensor([[-1e30, -1e30], [1e30, 0.0], [-50.0, 1.0]], dtype=dtype)
    found = positive_shares(x, 2.0, 0.01)
    torch.testing.assert_close(found, torch.tensor([[0.5, 0.5], [1, 0], [0, 1]], dtype=dtype))


def test_outside_the_span_of_codes_is_pythagoras_rest():
    codes = torch.as_tensor(label_codes("sinusoidal", 3, 16)).double()
    mixtures = torch.tensor([[0.2, 0.5, 0.3], [2.0, -1.0, 0.0]]).double() @ codes
    torch.testing.assert_close(outside_span(mixtures, codes), torch.zeros(2).double(), rtol=0, atol=1e-12)
    fourth = torch.as_tensor(label_codes("sinusoidal", 4, 16)).double()[3]
    torch.testing.assert_close(outside_span(mixtures + 0.7 * fourth, codes), torch.full((2,), 0.7).double())
