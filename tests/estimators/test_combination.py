"""Read-outs, weights and exponents of the estimators, on estimates that no row took part in."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gendiffclf.estimators.combination import (
    EXPONENT_PRIOR,
    LEAST_PROBABILITY,
    READ_OUT_PRIOR,
    Combination,
    ReadOut,
    combine,
    convex_weights,
    fit_exponents,
    fit_read_out,
    pooled_loss,
    uncalibrated,
)
from gendiffclf.transport.readout import positive_shares, project_on_simplex

seeds = st.integers(0, 10_000)


def sample(n: int, powers=(1.0,), n_classes: int = 3, seed: int = 0):
    """Estimates whose logarithms are a power times those that labels are drawn from, targets, and weights of mean 1."""
    rng = np.random.default_rng(seed)
    true = rng.dirichlet(np.ones(n_classes), n)
    y = (rng.random((n, 1)) > true.cumsum(1)).sum(1)
    estimates = [torch.as_tensor(true**power / (true**power).sum(1, keepdims=True)) for power in powers]
    weight = torch.as_tensor(rng.uniform(0.2, 2, n))
    return estimates, torch.nn.functional.one_hot(torch.as_tensor(y), n_classes).double(), weight / weight.mean()


def noisy(n: int, noise: tuple[float, ...], seed: int):
    """Coordinates of estimators that see the class through normal noise, targets and weights."""
    generator = torch.Generator().manual_seed(seed)
    targets = torch.eye(3, dtype=torch.float64)[torch.randint(0, 3, (n,), generator=generator)]
    coordinates = [targets + s * torch.randn(targets.shape, generator=generator, dtype=torch.float64) for s in noise]
    weight = torch.rand(n, generator=generator, dtype=torch.float64) + 0.1
    return coordinates, targets, weight / weight.mean()


def brier(probabilities, targets, weight) -> float:
    return float(weight @ (probabilities - targets).square().sum(1) / weight.sum())


def log_loss(probabilities, targets, weight) -> float:
    return -float(weight @ (targets * probabilities.log()).sum(1) / weight.sum())


# ----------------------------------------------------------------------- weights


@given(noise=st.tuples(st.floats(0, 3), st.floats(0, 3)), n=st.integers(1, 60), seed=seeds)
def test_a_mixture_is_never_worse_out_of_fold_than_the_better_estimator(noise, n, seed):
    coordinates, targets, weight = noisy(n, noise, seed)
    projected = [project_on_simplex(x) for x in coordinates]
    first, second = convex_weights(projected, targets, weight)
    assert first >= 0
    assert second >= 0
    assert first + second == pytest.approx(1)
    better = min(brier(x, targets, weight) for x in projected)
    assert brier(first * projected[0] + second * projected[1], targets, weight) <= better + 1e-12


@given(noise=st.tuples(st.floats(0.1, 2), st.floats(0.1, 2)), seed=seeds)
def test_the_weight_is_that_of_a_grid_search(noise, seed):
    coordinates, targets, weight = noisy(40, noise, seed)
    grid = np.linspace(0, 1, 1001)
    best = grid[np.argmin([brier(w * coordinates[0] + (1 - w) * coordinates[1], targets, weight) for w in grid])]
    assert convex_weights(coordinates, targets, weight)[0] == pytest.approx(best, abs=6e-4)


def test_equal_estimates_share_the_weight():
    (x, _), targets, weight = noisy(20, (1.0, 1.0), 0)
    assert convex_weights([x, x], targets, weight) == (0.5, 0.5)


def test_a_useless_estimator_gets_no_weight():
    coordinates, targets, weight = noisy(4000, (0.1, 1.0), 0)
    coordinates[1] = torch.full_like(coordinates[1], 1 / 3)
    assert combine(coordinates, targets, weight).weights[0] > 0.98


@pytest.mark.parametrize("heavy", [0, 1])
def test_heavy_rows_decide_on_the_weight(heavy):
    """Each estimator is right on one half of the rows."""
    _, targets, _ = noisy(200, (), 0)
    wrong = targets.roll(1, dims=1)
    first = torch.arange(200)[:, None] < 100
    coordinates = [torch.where(first, targets, wrong), torch.where(first, wrong, targets)]
    weight = torch.where((torch.arange(200) < 100) == (heavy == 0), 1.9, 0.1).double()
    assert convex_weights(coordinates, targets, weight)[heavy] == pytest.approx(0.95)


# ------------------------------------------------------------------- calibration


def read_out_objective(x, targets, weight, sharpness, softness) -> float:
    """What a read-out minimises: log-loss of all rows, and the prior."""
    medians, deviation = READ_OUT_PRIOR
    prior = np.square((np.log([sharpness, softness]) - np.log(medians)) / deviation).sum() / 2
    return log_loss(positive_shares(x, sharpness, softness), targets, weight) * float(weight.sum()) + prior


@pytest.mark.parametrize("noise", [0.1, 0.4, 1.0])
def test_the_read_out_is_the_best_of_a_grid(noise):
    (x,), targets, weight = noisy(60, (noise,), 0)
    found = fit_read_out(x, targets, weight)
    grid = [
        read_out_objective(x, targets, weight, a, b)
        for a in np.geomspace(0.5, 20, 60)
        for b in np.geomspace(0.01, 3, 60)
    ]
    assert read_out_objective(x, targets, weight, found.sharpness, found.softness) <= min(grid) + 1e-2


def test_the_sharpness_undoes_that_of_the_labels():
    """Coordinates well above 0 are read by their power."""
    rng = np.random.default_rng(0)
    true = rng.dirichlet(np.full(3, 5.0), 8000)
    targets = torch.eye(3).double()[torch.as_tensor((rng.random((8000, 1)) > true.cumsum(1)).sum(1))]
    weight = torch.ones(8000).double()
    stated = torch.as_tensor(true ** (1 / 3) / (true ** (1 / 3)).sum(1, keepdims=True))
    found = fit_read_out(stated, targets, weight)
    assert log_loss(found(stated), targets, weight) < log_loss(torch.as_tensor(true), targets, weight) * 1.005
    assert found.sharpness > 2


def test_few_rows_say_little_about_the_read_out():
    (x,), targets, _ = noisy(3000, (0.02,), 0)  # a perfect estimator: any sharpness would do
    few, many = (fit_read_out(x[:n], targets[:n], torch.ones(n).double()) for n in (3, 3000))
    assert few.sharpness < 2 * READ_OUT_PRIOR[0][0]
    assert many.sharpness > few.sharpness


def test_many_classes_near_zero_take_little_from_the_likely_ones():
    """Errors of 20 classes around 0, of which the projection on the simplex would cut most."""
    generator = torch.Generator().manual_seed(0)
    y = torch.randint(0, 20, (2000,), generator=generator)
    targets = torch.eye(20).double()[y]
    x = 0.3 * targets + 0.1 * torch.randn(2000, 20, generator=generator).double() + 0.035
    weight = torch.ones(2000).double()
    read = fit_read_out(x, targets, weight)(x)
    projected = project_on_simplex(x)
    mixtures = [log_loss((1 - s) * projected + s / 20, targets, weight) for s in np.geomspace(1e-3, 0.5, 50)]
    assert log_loss(read, targets, weight) < 0.9 * min(mixtures)


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
def test_the_exponent_undoes_false_confidence(power):
    (stated,), targets, weight = sample(8000, (power,))
    assert fit_exponents([stated], targets, weight) == pytest.approx((1 / power,), rel=0.15)


@given(powers=st.lists(st.floats(0.3, 3), min_size=1, max_size=3), n=st.integers(1, 80), seed=seeds)
def test_exponents_are_the_best_of_a_grid(powers, n, seed):
    stated, targets, weight = sample(n, powers, seed=seed)
    means = np.array(EXPONENT_PRIOR[0][len(powers) - 1])

    def objective(exponents):
        logits = sum(a * p.log() for a, p in zip(exponents, stated, strict=True))
        loss = log_loss(torch.softmax(logits, 1), targets, weight) * float(weight.sum())
        return loss + (((np.asarray(exponents) - means) / EXPONENT_PRIOR[1]) ** 2).sum() / 2

    n_points = 30 if len(powers) < 3 else 9
    axes = np.geomspace(0.2, 5, n_points), *[np.linspace(0, 3, n_points)] * 2
    grid = [objective(point) for point in itertools.product(*axes[: len(stated)])]
    assert objective(fit_exponents(stated, targets, weight)) <= min(grid) + 1e-6 * max(1, min(grid))


def test_few_rows_say_little_about_exponents():
    stated, targets, weight = sample(3000, (0.3, 0.3))
    few, many = (fit_exponents([x[:n] for x in stated], targets[:n], weight[:n] / weight[:n].mean()) for n in (3, 3000))
    assert few == pytest.approx(EXPONENT_PRIOR[0][1], abs=0.3)
    assert 0.3 * sum(many) == pytest.approx(1, rel=0.15)


# ------------------------------------------------------------------- combination


def test_the_shrinkage_of_an_estimator_is_undone():
    """A strong penalty draws estimates to the mean code: their mixture with others must not suffer."""
    (x,), targets, weight = noisy(2000, (0.5,), 0)
    shrunk = 1 / 3 + 0.2 * (x - 1 / 3)
    alone, mixed = combine([x], targets, weight), combine([shrunk, x], targets, weight)
    own, both = alone.probabilities([x]), mixed.probabilities([shrunk, x])
    assert log_loss(both, targets, weight) < 1.02 * log_loss(own, targets, weight)
    sharpened = combine([shrunk], targets, weight).probabilities([shrunk])
    assert log_loss(sharpened, targets, weight) < 1.05 * log_loss(own, targets, weight)


@given(noise=st.tuples(st.floats(0.1, 2), st.floats(0.1, 2)), n=st.integers(1, 40), seed=seeds, one=st.booleans())
def test_probabilities_sum_to_1_above_a_floor(noise, n, seed, one):
    coordinates, targets, weight = noisy(n, noise[: 1 if one else 2], seed)
    found = combine(coordinates, targets, weight)
    assert found.floor == pytest.approx(1 / (n + 2))
    new, _, _ = noisy(30, noise[: len(coordinates)], seed + 1)
    probabilities = found.probabilities([x.float() for x in new])
    assert probabilities.dtype == torch.float64
    torch.testing.assert_close(probabilities.sum(1), torch.ones(30, dtype=torch.float64), rtol=0, atol=1e-12)
    assert probabilities.min() >= found.floor / 3 * (1 - 1e-9)


def test_more_held_out_rows_lower_the_floor():
    few, many = (combine(*noisy(n, (0.1, 0.1), 0)).floor for n in (10, 1000))
    assert many < few / 50


def test_one_estimator_alone_is_read_by_its_own_read_out():
    (x,), targets, weight = noisy(300, (0.6,), 0)
    found = combine([x], targets, weight)
    expected = fit_read_out(x, targets, weight)
    assert found == Combination((1.0,), (expected,), (1.0,), 1 / 302)
    torch.testing.assert_close(found.probabilities([x]), (1 - found.floor) * expected(x) + found.floor / 3)


def test_a_combination_in_closed_form():
    first, second = torch.tensor([[2.0, 0.0, -1.0]]), torch.tensor([[0.2, 0.3, 0.5]])
    logistic, trees = torch.tensor([[0.5, 0.5, 0.0]]), torch.tensor([[0.1, 0.2, 0.7]])
    combination = Combination((0.25, 0.75), (ReadOut(1.0, 0.5), ReadOut(2.0, 0.1)), (0.5, 2.0, 1.5), 0.3)
    soft = np.log1p(np.exp(np.array([4.0, 0.0, -2.0]))), np.log1p(np.exp(np.array([2.0, 3.0, 5.0]))) ** 2
    mixed = 0.25 * soft[0] / soft[0].sum() + 0.75 * soft[1] / soft[1].sum()
    product = np.sqrt(mixed) * np.array([0.5, 0.5, LEAST_PROBABILITY]) ** 2 * np.array([0.1, 0.2, 0.7]) ** 1.5
    found = combination.probabilities([first, second, logistic, trees])
    np.testing.assert_allclose(found.numpy()[0], 0.7 * product / product.sum() + 0.1, rtol=1e-6)


def test_a_good_logistic_regression_joins_and_a_useless_one_does_not():
    (x, _), targets, weight = noisy(2000, (0.6, 0.6), 0)
    (good,), (useless,) = noisy(2000, (0.3,), 0)[0], sample(2000, seed=1)[0]
    alone = combine([x], targets, weight)
    assert combine([x], targets, weight, [useless]).exponents[1] < 0.1
    joined = combine([x], targets, weight, [torch.softmax(good / 0.09, 1)])
    assert joined.exponents[1] > 0.5
    losses = (
        log_loss(alone.probabilities([x]), targets, weight),
        log_loss(joined.probabilities([x, torch.softmax(good / 0.09, 1)]), targets, weight),
    )
    assert losses[1] < 0.7 * losses[0]


def test_the_loss_of_a_product_is_that_with_the_best_exponents():
    stated, targets, weight = sample(200, (0.5, 2.0, 1.0))
    a = torch.tensor(fit_exponents(stated, targets, weight)).double()
    p = torch.softmax((a[:, None, None] * torch.stack(stated).log()).sum(0), 1)
    expected = float(-(weight @ (targets * p).sum(1).log()))
    assert pooled_loss(stated, targets, weight) == pytest.approx(expected, rel=1e-5)
    impossible = [torch.where(targets > 0, 0.0, x) for x in stated[:1]]
    assert np.isfinite(pooled_loss(impossible, targets, weight))


def test_an_estimator_without_weight_is_not_looked_at():
    combination = Combination((1.0, 0.0), (ReadOut(),) * 2, (1.0,), 0.01)
    x = torch.rand(4, 3)
    assert combination.probabilities([x, torch.full_like(x, torch.nan)]).isfinite().all()


@pytest.mark.parametrize("n_estimators", [1, 2])
def test_without_held_out_rows_estimators_have_equal_weights(n_estimators):
    found = uncalibrated(n_estimators)
    assert found.weights == (1 / n_estimators,) * n_estimators
    x = project_on_simplex(torch.randn(20, 3, generator=torch.Generator().manual_seed(0)))
    torch.testing.assert_close(found.probabilities([x] * n_estimators), x.double(), rtol=0, atol=0.025)


def test_a_read_out_that_is_fitted_already_is_not_fitted_again():
    coordinates, targets, weight = noisy(80, (0.2, 0.4), 0)
    fitted = combine(coordinates, targets, weight)
    assert combine(coordinates, targets, weight, read_outs=fitted.read_outs[:1]) == fitted
    other = ReadOut(1.0, 0.5)
    assert combine(coordinates, targets, weight, read_outs=[other]).read_outs == (other, fitted.read_outs[1])


def test_a_combination_is_deterministic_and_leaves_its_input_alone():
    coordinates, targets, weight = noisy(50, (0.5, 0.7), 0)
    before = [x.clone() for x in (*coordinates, targets, weight)]
    assert combine(coordinates, targets, weight) == combine(coordinates, targets, weight)
    combine(coordinates, targets, weight).probabilities(coordinates)
    assert all(torch.equal(x, y) for x, y in zip((*coordinates, targets, weight), before, strict=True))
