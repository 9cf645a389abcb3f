"""The scaler in torch gives what the scaler in NumPy gives."""

import numpy as np
import pytest
import torch
from scipy.special import ndtri

from gendiffclf.export.scaling import ScalingModule, normal_quantile
from gendiffclf.preprocessing import SCALINGS, FeatureScaler


def rows(n, rng):
    """Two layers of: normal, counts with ties, constant, heavy tails, zeros and ones, missing in some rows, missing in all."""
    columns = [
        rng.normal(size=(n, 2)),
        rng.poisson(1.0, (n, 2)),
        np.full((n, 2), 3.1),
        rng.standard_cauchy((n, 2)) * 1e6,
        rng.integers(0, 2, (n, 2)),
        np.where(rng.random((n, 2)) < 0.3, np.nan, rng.normal(size=(n, 2))),
        np.full((n, 2), np.nan),
    ]
    return np.stack(columns, axis=2).astype(np.float32)


def test_normal_quantiles():
    level = np.concatenate([np.linspace(0, 1, 10_001), [0.5]])
    found = normal_quantile(torch.as_tensor(level)).numpy()
    np.testing.assert_allclose(found, np.clip(ndtri(level), -3, 3), atol=1e-8)


@pytest.mark.parametrize("kind", SCALINGS)
@pytest.mark.parametrize("n", [5, 400])
def test_equal_to_the_scaler(kind, n):
    rng = np.random.default_rng(0)
    X = rows(n, rng)
    scaler = FeatureScaler.fit(X, rng.random(n) + 0.1, kind, indicators=np.array([4]))
    others = rows(50, rng)
    others[0, 0, 0], others[1, 0, 3] = np.nan, 3e38  # missing where it never was, and the greatest
    others = np.concatenate([others, X])  # values equal to quantiles
    found = ScalingModule(scaler)(torch.as_tensor(others))
    assert found.dtype == torch.float32
    np.testing.assert_allclose(found.numpy(), scaler.transform(others), rtol=1e-6, atol=1e-6)
