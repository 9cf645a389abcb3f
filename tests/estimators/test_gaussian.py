"""Normal distributions of the classes: the densities of scipy, held out honestly, and only where they help."""

import copy

import numpy as np
import pytest
import torch
from kept_models import (
    assert_files_and_pickles_predict_alike,
    assert_one_row_and_many_agree,
    assert_onnx_predicts_alike,
)
from scipy.stats import multivariate_normal
from sklearn.metrics import log_loss

from gendiffclf import GenerativeTransportClassifier
from gendiffclf.estimators import gaussian as module
from gendiffclf.estimators import training_rows
from gendiffclf.estimators.combination import pooled_loss
from gendiffclf.estimators.gaussian import DIAGONAL_SHARES, LEAST_VARIANCE, PRIOR_ROWS, fit_gaussian, suitable
from gendiffclf.estimators.training_rows import TrainingRows


def spreads(n: int = 600, seed: int = 0):
    """Rows (n, 4) of three classes with one mean, whose features vary, and vary together, in their own ways."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 3
    X = rng.normal(size=(n, 4))
    X[y == 1] *= [2.5, 0.4, 1, 1]
    X[y == 2, 2] = X[y == 2, 3] + 0.3 * X[y == 2, 2]
    return X.astype(np.float32), y


def rows_of(X: np.ndarray, y: np.ndarray, weight: np.ndarray | None = None) -> TrainingRows:
    weight = np.ones(len(y)) if weight is None else weight / weight.mean()
    targets = torch.nn.functional.one_hot(torch.as_tensor(y)).double()
    return TrainingRows(torch.as_tensor(X)[:, None], targets, torch.as_tensor(weight))


def fit(data: TrainingRows, folds=None, validation=None, beside=None, is_short_of=lambda seconds: False):
    """Distributions and held-out probabilities, where nothing but the share of each class is known before."""
    folds = np.random.default_rng(0).permutation(len(data)) % 3 if folds is None else folds
    train = [np.flatnonzero(folds != k) for k in range(3)]
    validation = np.arange(len(data)) if validation is None else validation
    beside = data.offset.expand(len(validation), -1) if beside is None else beside
    return fit_gaussian(data, train, validation, folds[validation], beside, data.weight[validation], is_short_of)


@pytest.fixture
def one_choice(monkeypatch):
    for name in ("PRIOR_ROWS", "DIAGONAL_SHARES", "SHARPNESSES"):
        monkeypatch.setattr(module, name, getattr(module, name)[:1])
    monkeypatch.setattr(module, "_START", (0, 0, 0))


def expected_probabilities(X, y, weight, new):
    """By scipy's densities, with covariances shrunk as documented."""
    shares = np.array([weight[y == k].sum() for k in range(3)])
    means = [np.average(X[y == k], 0, weight[y == k]) for k in range(3)]
    scatters = [(weight[y == k] * (X[y == k] - m).T) @ (X[y == k] - m) for k, m in enumerate(means)]
    pooled = sum(scatters) / (shares.sum() - 3)
    densities = []
    for share, mean, scatter in zip(shares, means, scatters, strict=True):
        covariance = (scatter + PRIOR_ROWS[0] * pooled) / (share - 1 + PRIOR_ROWS[0])
        covariance = (1 - DIAGONAL_SHARES[0]) * covariance + DIAGONAL_SHARES[0] * np.diag(np.diag(pooled))
        normal = multivariate_normal(mean, covariance + LEAST_VARIANCE * np.eye(len(mean)))
        densities.append(share * normal.pdf(new))
    return np.array(densities).T / np.sum(densities, 0)[:, None]


def test_densities_are_those_of_scipy_and_held_out_rows_teach_nothing(one_choice):
    X, y = spreads()
    X, weight, folds = X.astype(float), np.random.default_rng(1).uniform(0.5, 1.5, 600), np.arange(600) // 3 % 3
    estimator, held_out = fit(rows_of(X, y, weight), folds)
    weight /= weight.mean()
    new = spreads(90, seed=1)[0].astype(float)
    found = estimator.estimate(torch.as_tensor(new)[:, None])
    np.testing.assert_allclose(found, expected_probabilities(X, y, weight, new), atol=1e-9)
    for k in range(3):
        outside = folds != k
        expected = expected_probabilities(X[outside], y[outside], weight[outside], X[~outside])
        np.testing.assert_allclose(held_out[~outside], expected, atol=1e-9)


def test_a_class_of_one_fold_alone_has_no_density_without_it(one_choice, monkeypatch):
    monkeypatch.setattr(module, "LEAST_GAIN", -np.inf)
    X, y = spreads()
    data, folds = rows_of(X, y), np.where(y == 2, 2, np.arange(600) % 2)
    _, held_out = fit(data, folds)
    assert (held_out[folds == 2, 2] == 0).all()
    assert (held_out[folds < 2, 2] > 0).all()
    np.testing.assert_allclose(held_out.sum(1), 1, atol=1e-9)


def test_rows_of_a_fold_that_are_not_validated_teach_nothing_either(one_choice):
    """As those of one group, of which only some are looked at."""
    X, y = spreads(900)
    folds, validation = np.arange(900) // 3 % 3, np.arange(0, 900, 5)
    wrong, hidden = y.copy(), np.setdiff1d(np.flatnonzero(folds == 0), validation)
    wrong[hidden] = (y[hidden] + 1) % 3
    found, other = (fit(rows_of(X, labels), folds, validation)[1] for labels in (y, wrong))
    of_fold = folds[validation] == 0
    np.testing.assert_allclose(other[of_fold], found[of_fold], atol=1e-9)
    assert not np.allclose(other[~of_fold], found[~of_fold], atol=1e-3)


def test_they_lower_the_loss_of_what_they_join_and_one_scaling_is_chosen():
    X, y = spreads()
    data = rows_of(X, y)
    cubes = TrainingRows(torch.stack([data.rows[:, 0] ** 3, data.rows[:, 0]], dim=1), data.targets, data.weight)
    estimator, held_out = fit(cubes)
    assert estimator.view == 1
    shares = data.offset.expand_as(data.targets)
    together = pooled_loss([shares, held_out], data.targets, data.weight)
    assert together < 0.8 * pooled_loss([shares], data.targets, data.weight)


def test_there_are_none_where_they_add_nothing():
    X, y = spreads()
    data = rows_of(X, y)
    assert fit(data, beside=0.98 * data.targets + 0.01) is None
    noise = rows_of(X, np.random.default_rng(0).integers(0, 3, 600))
    assert fit(noise) is None
    assert fit(data, is_short_of=lambda seconds: True) is None


def test_blocks_and_fewer_rows_that_choose_make_little_difference(monkeypatch):
    data = rows_of(*spreads())
    whole, held_out = fit(data)
    monkeypatch.setattr(training_rows, "_BLOCK_VALUES", 100)
    blocks, of_blocks = fit(data)
    torch.testing.assert_close(blocks.whitening, whole.whitening)
    torch.testing.assert_close(of_blocks, held_out)
    monkeypatch.setattr(module, "_CHOICE_VALUES", 300 * 48)
    _, of_half = fit(data)
    losses = [pooled_loss([x], data.targets, data.weight) for x in (of_half, held_out)]
    assert losses[0] == pytest.approx(losses[1], rel=0.05)


def test_a_constant_feature_far_from_0_does_not_matter():
    X, y = spreads()
    far = np.column_stack([X.astype(float), np.full(600, 1.234e12)])
    expected, of_expected = fit(rows_of(np.column_stack([X.astype(float), np.zeros(600)]), y))
    found, of_found = fit(rows_of(far, y))
    torch.testing.assert_close(of_found, of_expected)
    torch.testing.assert_close(found.offset, expected.offset)


def test_a_row_that_outweighs_all_others_leaves_them_out(tiny):
    X, y = spreads(300)
    weight = np.ones(300)
    weight[0] = 1e15
    model = tiny(random_state=0).fit(X, y, sample_weight=weight)
    assert model.gaussian_ is None
    assert np.isfinite(model.held_out_proba_).all()


def test_for_which_rows_they_are():
    X, y = spreads(24)
    data = rows_of(X, y)
    assert suitable(data, n_views=1)
    assert not suitable(data, n_views=2)
    assert suitable(data[:12], n_views=1)
    assert not suitable(data[:11], n_views=1)  # three classes of four features
    wide = TrainingRows(torch.zeros(5000, 1, 800), data.targets.new_zeros(5000, 2), data.weight.new_ones(5000))
    assert not suitable(wide, n_views=1)


# --------------------------------------------------------------- in the classifier


@pytest.fixture(scope="module")
def fitted():
    """A classifier with distributions, fitted to 300 rows, and other rows."""
    X, y = spreads(700)
    model = GenerativeTransportClassifier(max_steps=3, width=32, n_members=3, depth=1, device="cpu", random_state=0)
    return model.fit(X[:300], np.array(["a", "b", "c"])[y[:300]]), X[300:], np.array(["a", "b", "c"])[y[300:]]


def test_they_join_the_product_of_the_classifier(fitted):
    model, X, y = fitted
    assert model.trees_ is None
    assert len(model.combination_.exponents) == 3
    rows = torch.as_tensor(model.scaler_.transform(X[:, None])).double()
    alone = log_loss(y, model.gaussian_.to(rows).estimate(rows))
    assert log_loss(y, model.predict_proba(X)) < 1.05 * alone
    held_out = log_loss(spreads(700)[1][:300], model.held_out_proba_)
    assert 0.7 < held_out / log_loss(y, model.predict_proba(X)) < 1.4


@pytest.mark.parametrize("changes", [{"estimator": "kernel"}, {"estimator": "network"}])
def test_they_are_not_in_single_estimators(tiny, changes):
    assert tiny(**changes, n_centers=50).fit(*spreads(300)).gaussian_ is None


def test_trees_come_after_them(tiny):
    X, y = spreads(900)
    steps = np.random.default_rng(0).uniform(0, 8, 900)
    y = np.where(np.floor(steps) % 2 == 0, y, 3)
    model = tiny(random_state=0).fit(np.column_stack([X, steps]), y)
    assert model.gaussian_ is not None
    assert model.trees_ is not None
    assert len(model.combination_.exponents) == 4
    found = model.predict_proba(np.column_stack([X, steps]))
    assert log_loss(y, found) < 0.8


def test_one_row_and_many_agree(fitted):
    assert_one_row_and_many_agree(*fitted[:2])


def test_files_and_pickles_keep_them(fitted, tmp_path):
    assert_files_and_pickles_predict_alike(*fitted[:2], tmp_path)


def test_onnx_files_have_them(fitted, tmp_path, without_gaps):
    pytest.importorskip("onnxscript")
    assert_onnx_predicts_alike(*fitted[:2], tmp_path)


def test_a_new_class_is_found_beside_them(fitted):
    model, X, _ = fitted
    far = np.random.default_rng(0).normal(8, 0.5, (40, 4)).astype(np.float32)
    grown = copy.deepcopy(model).partial_fit(far[:20], ["aa"] * 20)  # which is not the last
    assert (grown.predict(far[20:]) == "aa").mean() > 0.9
    assert (grown.predict(X) == "aa").mean() < 0.05


def test_rows_on_disk_have_them_too(tiny, tmp_path):
    X, y = spreads(300)
    np.save(tmp_path / "rows.npy", X)
    one, other = (tiny(random_state=0).fit(rows, y) for rows in (X, np.load(tmp_path / "rows.npy", mmap_mode="r")))
    assert one.gaussian_ is not None
    np.testing.assert_array_equal(one.predict_proba(X), other.predict_proba(X))


def test_an_interrupt_leaves_them_out(monkeypatch, tiny):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "fit_gaussian", interrupted)
    with pytest.warns(UserWarning, match="Got an interrupt"):
        model = tiny().fit(*spreads(300))
    assert model.gaussian_ is None
    assert model.history_["stopped_by"] == "interrupt"
