"""Kernels, and ridge regression with them, against scikit-learn and explicit refits."""

import numpy as np
import pytest
import torch
from kernel_tables import weighted_mean
from scipy.spatial.distance import pdist, squareform
from sklearn.metrics.pairwise import cosine_similarity, laplacian_kernel, rbf_kernel

from gendiffclf.estimators import ridge
from gendiffclf.estimators.ridge import KERNELS, KernelSettings, distances, rows_of_groups, solve


def settings(kernel: str = "gaussian", bandwidth=(2.0,), layer_weights=(1.0,)) -> KernelSettings:
    return KernelSettings(kernel, 0, 0.1, bandwidth, layer_weights)


@pytest.fixture
def table(generator):
    """Rows (n, layers, d) in float64, targets (n, K), positive weights (n,) of mean 1."""
    rows = torch.randn(40, 3, 4, generator=generator, dtype=torch.float64)
    targets = torch.nn.functional.one_hot(torch.arange(40) % 3).double()
    weight = torch.rand(40, generator=generator, dtype=torch.float64) + 0.2
    return rows, targets, weight / weight.mean()


@pytest.mark.parametrize(
    ("kernel", "expected", "gamma"), [("gaussian", rbf_kernel, 1 / 2**3), ("laplacian", laplacian_kernel, 1 / 2)]
)
def test_kernels_are_those_of_scikit_learn(table, kernel, expected, gamma):
    rows = table[0]
    found = settings(kernel).gram(rows[:, :1], rows[:7, :1])
    np.testing.assert_allclose(found, expected(rows[:, 0], rows[:7, 0], gamma=gamma), rtol=1e-10)


def test_the_cosine_kernel_is_the_gaussian_of_directions(table):
    rows = 10 * table[0]
    kernel = settings("cosine", (0.5,))
    read = KERNELS["cosine"].read(rows[:, :1])
    expected = np.exp((cosine_similarity(rows[:, 0]) - 1) / 0.5**2)
    np.testing.assert_allclose(kernel.gram(read, read), expected, rtol=1e-10)
    found, unit = distances("cosine", rows[:, 0], table[2])
    np.testing.assert_allclose(torch.exp(-found / 0.5**2), expected, rtol=1e-10)
    assert unit == found[found > 1e-9].median()


@pytest.mark.parametrize("kernel", ["gaussian", "laplacian"])
def test_distances_of_rows_among_themselves_are_those_of_scipy(table, kernel):
    rows = table[0][:, 0]
    found, _ = distances(kernel, rows, table[2])
    metric = {"gaussian": "sqeuclidean", "laplacian": "cityblock"}[kernel]
    expected = squareform(pdist(rows, metric)) / KERNELS[kernel].power
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(("n", "m"), [(3, ridge._CACHED_VALUES // 2), (301, 500), (500, 301)])
def test_many_values_of_the_laplacian_kernel_are_sums_over_features(n, m, generator):
    assert n * m > ridge._CACHED_VALUES  # not by torch.cdist
    a, b = torch.randn(n, 5, generator=generator), torch.randn(m, 5, generator=generator)
    b[:2] = a[:2]
    found = KERNELS["laplacian"].exponent(a, b)
    torch.testing.assert_close(found, -torch.cdist(a, b, p=1))
    assert found[0, 0] == found[1, 1] == 0


def test_rows_without_length_have_no_direction():
    read = KERNELS["cosine"].read(torch.zeros(2, 1, 3))
    assert torch.equal(read, torch.zeros(2, 1, 3))


@pytest.mark.parametrize("kernel", KERNELS)
def test_every_kernel_is_1_at_a_row_itself_and_falls_with_distance(kernel):
    x = torch.linspace(0, 5, 20, dtype=torch.float64)[:, None, None]
    values = settings(kernel).gram(x, x[:1])[:, 0]
    assert values[0] == 1
    assert (values.diff() < 0).all()
    assert values[-1] > 0


@pytest.mark.parametrize("kernel", KERNELS)
def test_the_kernel_of_layers_is_their_weighted_sum(table, kernel):
    rows = table[0]
    found = settings(kernel, (1.0, 2.0, 3.0), (0.7, 0.0, 0.3)).gram(rows, rows)
    first, third = (
        settings(kernel, (w,)).gram(rows[:, i : i + 1], rows[:, i : i + 1]) for i, w in ((0, 1.0), (2, 3.0))
    )
    torch.testing.assert_close(found, 0.7 * first + 0.3 * third)


def test_large_offsets_do_not_make_distances_negative():
    x = 1e4 + torch.randn(30, 1, 5, generator=torch.Generator().manual_seed(0))
    values = settings().gram(x, x)
    assert (values <= 1).all()
    assert values.isfinite().all()


def refit(gram, targets, weight, penalty, kept):
    """Coefficients of a ridge on some rows alone."""
    system = gram[kept][:, kept] + torch.diag(penalty / weight[kept])
    return torch.linalg.solve(system, targets[kept])


@pytest.mark.parametrize("groups", [None, np.arange(40) % 40 // 3, np.arange(40) * 7 % 4, np.zeros(40, int)])
def test_residuals_of_held_out_rows_are_those_of_refits(table, groups, monkeypatch):
    monkeypatch.setattr(ridge, "_LEAST_COLUMNS", 16)  # fewer than rows, and not a divisor of their number
    rows, targets, weight = table
    targets = targets - weighted_mean(targets, weight)
    gram = settings().gram(rows[:, :1], rows[:, :1])
    coefficients, residual = solve(gram + torch.diag(0.1 / weight), targets, groups)
    everything = np.ones(40, bool)
    torch.testing.assert_close(coefficients, refit(gram, targets, weight, 0.1, everything), rtol=0, atol=1e-8)
    for i in range(40):
        kept = np.arange(40) != i if groups is None else groups != groups[i]
        expected = targets[i] - gram[i, kept] @ refit(gram, targets, weight, 0.1, kept)
        torch.testing.assert_close(residual[i], expected, rtol=0, atol=1e-8)


def test_rows_of_groups():
    assert [rows.tolist() for rows in rows_of_groups(np.array([5, 2, 5, 9, 2]))] == [[1, 4], [0, 2], [3]]
