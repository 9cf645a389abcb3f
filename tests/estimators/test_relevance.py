"""Factors of features: what they are, when they are kept, and that nothing held out has taught them."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from kernel_tables import weighted_mean
from scipy.stats import rankdata

from gendiffclf import GenerativeTransportClassifier
from gendiffclf.estimators import kernel as kernel_module
from gendiffclf.estimators import relevance
from gendiffclf.estimators.kernel import Choice, fit_kernel
from gendiffclf.estimators.relevance import N_FOLDS, N_PROBES, find_relevance, screened, sharpened
from gendiffclf.estimators.ridge import KERNELS, KernelSettings, distances
from gendiffclf.estimators.selection import BANDWIDTHS, PENALTIES, select
from gendiffclf.estimators.training_rows import TrainingRows
from gendiffclf.training.folds import selection_folds

START = (4, 5)
"""A place in the middle of the grid."""


def table(n: int = 200, d: int = 40, n_classes: int = 2, informative: int = 2, seed: int = 0):
    """Rows (n, d), of which a product of the first features decides the class, targets (n, K) and weights (n,)."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(n, d, generator=generator)
    y = (n_classes * torch.special.ndtr(rows[:, :informative].sum(1) / informative**0.5)).long()
    return rows, torch.nn.functional.one_hot(y, n_classes).double(), torch.ones(n, dtype=torch.float64)


def found(rows, targets, weight, groups=None, kernels=tuple(KERNELS)):
    """What the choice of hyperparameters and factors finds, and the former."""
    folds = selection_folds(targets.argmax(1).numpy(), np.random.default_rng(0), groups)
    data = TrainingRows(rows, targets, weight, groups)
    selection = select(replace(data, rows=rows[:, None, None]), kernels, folds)
    return find_relevance(data, folds, kernels, selection), selection, folds


def test_a_round_multiplies_by_the_mean_squared_derivatives():
    rows, targets, weight = table(n=50, d=4, n_classes=3)
    rows, weight = rows.double(), torch.rand(50, dtype=torch.float64) + 0.5
    before = torch.tensor([1.5, 0.5, 1.0, 0.2], dtype=torch.float64)
    scaled = rows * before
    width = distances("gaussian", scaled, weight)[1] ** 0.5 * BANDWIDTHS[START[0]]
    settings = KernelSettings("gaussian", 0, PENALTIES[START[1]], (width,), (1.0,))
    gram = settings.gram(scaled[:, None], scaled[:, None])
    coefficients = torch.linalg.solve(
        gram + torch.diag(settings.penalty / weight), targets - weighted_mean(targets, weight)
    )

    def estimate(x):
        return (settings.gram((x * before)[None, None], scaled[:, None]) @ coefficients)[0]

    slopes = torch.stack([torch.autograd.functional.jacobian(estimate, x) for x in rows])  # (n, K, d)
    wanted = (weight[:, None] * slopes.square().sum(1)).sum(0).sqrt()
    wanted /= wanted.square().mean().sqrt()
    torch.testing.assert_close(
        sharpened(before, TrainingRows(rows, targets, weight), START), wanted, rtol=1e-6, atol=1e-6
    )


def test_few_sums_of_classes_stand_for_many_classes():
    rows, targets, weight = table(n=400, d=6, n_classes=3 * N_PROBES, informative=1)
    factors = sharpened(torch.ones(6), TrainingRows(rows, targets, weight), START)
    assert factors.argmax() == 0
    assert factors[0] > 1.2 * factors[1:].max()
    torch.testing.assert_close(
        factors, sharpened(torch.ones(6), TrainingRows(rows, targets, weight), START), rtol=0, atol=0
    )


def test_screening_is_by_what_parabolas_and_products_of_ranks_explain():
    rows, _, weight = table(n=300, d=5)
    y = (rows[:, 0] * rows[:, 4] > 0).long() + (rows[:, 1] > 0.5)
    targets = torch.nn.functional.one_hot(y).double()
    rows[:, 2], rows[:, 3] = (rows[:, 2] > 0.5).float(), 0  # two values, and one
    rows[:, 1] = rows[:, 1].square()
    weight = weight * (torch.arange(300) % 3 + 1) / 2
    factors = screened(TrainingRows(rows, targets, weight))
    root = weight.sqrt()[:, None].numpy()
    centred = root * (targets - weighted_mean(targets, weight)).numpy()
    ranks = rankdata(rows, axis=0) / 300
    ranks -= np.average(ranks, axis=0, weights=weight)
    by_chance = float(weight.square().sum() / weight.sum() ** 2)

    def explained(*columns):
        design = root * np.stack([np.ones(300), *columns], axis=1)
        residual = centred - design @ np.linalg.lstsq(design, centred, rcond=1e-10)[0]
        return 1 - (residual**2).sum() / (centred**2).sum()

    wanted = np.zeros(5)
    for i in range(5):
        wanted[i] = max(explained(ranks[:, i], ranks[:, i] ** 2) - 2 * by_chance, 0)
        for j in set(range(5)) - {i, 3}:  # products with a constant explain nothing
            wanted[i] += max(explained(ranks[:, i] * ranks[:, j]) - 2 * np.log(10) * by_chance, 0) if i != 3 else 0
    assert wanted[4] > 0.1  # by its product with the first alone
    wanted = np.sqrt(wanted / wanted.mean())
    np.testing.assert_allclose(factors, np.maximum(wanted, relevance.LEAST_FACTOR), rtol=1e-3)
    nothing = TrainingRows(torch.zeros(300, 2), targets, weight)
    assert screened(nothing).tolist() == [1, 1]


@pytest.mark.parametrize("effect", [lambda a, b: a**2 + b**2 - 1.4, lambda a, b: a * b], ids=["squares", "product"])
def test_few_features_whose_effect_is_no_line_are_found_among_many(effect):
    rows, _, weight = table(n=300, d=200)
    y = (effect(rows[:, 0], rows[:, 1]) > 0).long()
    one = found(rows, torch.nn.functional.one_hot(y).double(), weight)[0]
    assert one.relevance[:2].min() > 3 * one.relevance[2:].max()


def test_features_that_matter_are_found():
    one, selection, _ = found(*table())
    assert one.relevance[:2].min() > 3 * one.relevance[2:].max()
    assert one.relevance.square().mean() == pytest.approx(1, abs=1e-5)
    assert one.settings.kernel in KERNELS
    assert one.settings.penalty in PENALTIES
    plain = (selection.held_out - table()[1]).square().sum()
    assert (one.held_out - table()[1]).square().sum() < 0.7 * plain


def test_constant_features_do_no_harm():
    rows, targets, weight = table()
    rows[:, -5:] = 0
    assert found(rows, targets, weight)[0].relevance.isfinite().all()
    assert sharpened(torch.ones(3), TrainingRows(torch.zeros(20, 3), targets[:20], weight[:20]), START).isfinite().all()


def test_regressions_without_a_solution_know_nothing():
    rows, targets, weight = table(n=50)
    rows[25:] = rows[:25]  # equal rows, told apart by the penalty alone
    data = TrainingRows(rows, targets, 1e17 * weight)
    score = relevance._FoldScore(data, np.arange(50) % N_FOLDS, START)
    assert score("gaussian", (*START, 1, 0)) == 1
    assert sharpened(torch.ones(40), data, START).tolist() == [1] * 40


def test_one_group_with_all_of_the_first_rows_keeps_the_plain_kernel():
    rows, targets, weight = table(n=700, d=20)
    groups = np.zeros(700, int)
    groups[-1] = 1
    assert found(rows, targets, weight, groups)[0] is None


def test_features_that_matter_alike_keep_the_plain_kernel():
    assert found(*table(n=150, d=40, informative=40))[0] is None


def test_held_out_estimates_are_by_folds_that_did_not_teach():
    rows, targets, weight = table(n=100)
    folds = np.arange(100) % N_FOLDS
    changed = targets.clone()
    changed[folds == 2] = 1 - changed[folds == 2]
    before, after = (relevance._FoldScore(TrainingRows(rows, y, weight), folds, START) for y in (targets, changed))
    for kernel in KERNELS:
        mine, other = (score.estimates(kernel, (*START, 2, 0)) + score._data.offset for score in (before, after))
        torch.testing.assert_close(mine[folds == 2], other[folds == 2])
        assert not torch.allclose(mine[folds == 1], other[folds == 1])


def test_held_out_estimates_are_those_of_refits():
    rows, targets, weight = table(n=100)
    folds = np.arange(100) % N_FOLDS
    own = torch.as_tensor(folds == 3)
    factors = torch.ones(40)
    for _ in range(2):
        factors = sharpened(factors, TrainingRows(rows[~own], targets[~own], weight[~own]), START)
    scaled = (rows * factors)[:, None]
    width = distances("laplacian", scaled[:, 0], weight)[1] * BANDWIDTHS[START[0]]
    settings = KernelSettings("laplacian", 0, PENALTIES[START[1]], (width,), (1.0,))
    refitted = fit_kernel(TrainingRows(scaled[~own], targets[~own], weight[~own]), choice=Choice(settings)).estimator
    score = relevance._FoldScore(TrainingRows(rows, targets, weight), folds, START)
    found = score.estimates("laplacian", (*START, 2, 0))[own] + score._data.offset
    torch.testing.assert_close(found, refitted.to(weight).estimate(scaled[own].double())[0], rtol=1e-5, atol=1e-6)


def test_one_group_is_no_more_evidence_than_one_row():
    rows, targets, weight = table(n=60, d=20)
    data, folds = TrainingRows(rows, targets, weight), np.arange(60) % 5
    score = relevance._FoldScore(data, folds, START)
    grouped = relevance._FoldScore(replace(data, groups=np.arange(60) // 30), folds, START)
    errors = {(4, 5, 1, 0): torch.zeros(60), (4, 5, 0, 0): torch.cat([torch.full((30,), 0.01), torch.full((30,), 1.0)])}
    for one in (score, grouped):
        one._squared_errors = lambda kernel, place: errors[place].double()
    assert score.better("gaussian", (4, 5, 1, 0), "gaussian", (4, 5, 0, 0))
    assert not grouped.better("gaussian", (4, 5, 1, 0), "gaussian", (4, 5, 0, 0))
    assert not score.better("gaussian", (4, 5, 0, 0), "gaussian", (4, 5, 1, 0))


def test_the_standard_error_allows_for_few_groups():
    rows, targets, weight = table(n=60, d=20)
    folds = np.arange(60) % 3
    score = relevance._FoldScore(TrainingRows(rows, targets, weight, folds), folds, START)
    gains = (
        torch.tensor([0.1, 1.0, 1.9]).repeat(20).double()
    )  # of groups 2, 20 and 38: 60 with a standard error of 31.2
    score._squared_errors = lambda kernel, place: place[2] * gains
    assert not score.better("gaussian", (4, 5, 0, 0), "gaussian", (4, 5, 1, 0))
    score._squared_errors = lambda kernel, place: place[2] * (gains + 0.1)
    assert score.better("gaussian", (4, 5, 0, 0), "gaussian", (4, 5, 1, 0))


@pytest.mark.parametrize("n_centers", [None, 300])
def test_rows_that_taught_factors_have_estimates_from_folds(n_centers, monkeypatch):
    found = []

    def spy(*args):
        found.append(find_relevance(*args))
        return found[-1]

    monkeypatch.setattr(kernel_module, "SELECTION_ROWS", 200)
    monkeypatch.setattr(relevance, "LEARNING_ROWS", 150)
    monkeypatch.setattr(kernel_module, "LEARNING_ROWS", 150)
    monkeypatch.setattr(kernel_module, "find_relevance", spy)
    rows, targets, weight = table(n=600)
    folds = selection_folds(targets[:200].argmax(1).numpy(), np.random.default_rng(0))
    fitted = fit_kernel(TrainingRows(rows[:, None], targets, weight), folds=folds, n_centers=n_centers)
    assert fitted.estimator.relevance is not None
    assert fitted.index.tolist() == list(range(600))
    torch.testing.assert_close(fitted.held_out[:150], found[0].held_out[:150])
    again = fit_kernel(TrainingRows(rows[:, None], targets, weight), n_centers=n_centers)
    assert again.estimator.relevance is None
    wanted = targets.argmax(1)

    def accuracy(fit, part):
        return (fit.held_out.argmax(1) == wanted)[part].double().mean()

    for part in (slice(0, 150), slice(150, None)):
        assert accuracy(fitted, part) > accuracy(again, part)


def test_a_sample_of_few_rows_as_centers_learns_no_factors():
    rows, targets, weight = table()
    folds = selection_folds(targets.argmax(1).numpy(), np.random.default_rng(0))
    assert fit_kernel(TrainingRows(rows[:, None], targets, weight), folds=folds).estimator.relevance is not None
    assert (
        fit_kernel(TrainingRows(rows[:, None], targets, weight), folds=folds, n_centers=50).estimator.relevance is None
    )


def test_layers_keep_the_plain_kernel():
    rows, targets, weight = table()
    folds = selection_folds(targets.argmax(1).numpy(), np.random.default_rng(0))
    layered = torch.stack([rows, rows], dim=1)
    assert fit_kernel(TrainingRows(layered, targets, weight), folds=folds).estimator.relevance is None


@pytest.fixture(scope="module")
def sparse():
    """A classifier fitted on a table of 60 features of which two matter, and rows and classes of a test."""
    rows, targets, _ = table(n=900, d=60)
    X, y = rows.numpy(), targets.argmax(1).numpy()
    classifier = GenerativeTransportClassifier(random_state=0).fit(X[:300], y[:300])
    return classifier, X[300:], y[300:]


def test_few_features_among_many(sparse):
    classifier, X, y = sparse
    assert classifier.score(X, y) > 0.9
    shares = classifier.feature_relevance_
    assert shares.shape == (60,)
    assert shares.sum() == pytest.approx(1)
    assert sorted(np.argsort(shares)[-2:]) == [0, 1]
    assert shares[:2].sum() > 0.8
    proba, truth = classifier.held_out_proba_, classifier.predict(X)
    assert proba.shape == (300, 2)
    assert len(truth) == 600


def test_factors_are_saved(sparse, tmp_path):
    classifier, X, _ = sparse
    classifier.save(tmp_path / "model")
    loaded = GenerativeTransportClassifier.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.predict_proba(X), classifier.predict_proba(X))
    np.testing.assert_array_equal(loaded.feature_relevance_, classifier.feature_relevance_)


def test_later_rows_are_scaled_alike(sparse, tmp_path):
    classifier, X, y = sparse
    classifier.save(tmp_path / "model")
    later = GenerativeTransportClassifier.load(tmp_path / "model").partial_fit(X[:10] + 0.1, y[:10])
    assert later.score(X[100:], y[100:]) > 0.85


def test_without_factors_all_features_count_alike():
    X = np.random.default_rng(0).normal(size=(40, 3))
    y = np.arange(40) % 2
    X[:, 0] += 4 * y
    plain = GenerativeTransportClassifier(random_state=0, max_steps=20).fit(np.stack([X, X], axis=1), y)
    np.testing.assert_allclose(plain.feature_relevance_, 1 / 3)
    network = GenerativeTransportClassifier(estimator="network", max_steps=20).fit(X, y)
    with pytest.raises(AttributeError, match="feature_relevance_ needs a kernel"):
        network.feature_relevance_  # noqa: B018
