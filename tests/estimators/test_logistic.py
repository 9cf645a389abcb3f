"""The logistic regression beside scikit-learn's, its folds, its layers and its new classes."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from gendiffclf.estimators import logistic, training_rows
from gendiffclf.estimators.logistic import LogisticEstimator, fit_logistic
from gendiffclf.estimators.training_rows import TrainingRows

N, D, K = 240, 4, 3


@pytest.fixture
def table(monkeypatch):
    """Rows of two layers and two scalings, the second of which is noise, classes, weights; convergence, no temperatures."""
    monkeypatch.setattr(logistic, "N_ITERATIONS", 300)
    monkeypatch.setattr(logistic, "SHARPNESSES", (1.0,))
    monkeypatch.setattr(logistic, "LEAST_GAIN", 0.0)
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(N, 4, D))
    y = (rows[:, 0] @ rng.normal(size=(D, K)) + rng.gumbel(size=(N, K))).argmax(1)
    weight = rng.uniform(0.3, 2, N)
    return torch.as_tensor(rows), y, torch.as_tensor(weight / weight.mean())


def fitted(rows, y, weight, numbers, fold, layer_weights=(1.0, 0.0)):
    data = TrainingRows(rows, torch.eye(K, dtype=torch.float64)[y], weight)
    return fit_logistic(data, numbers, fold, layer_weights)


def peer(X, y, weight, penalty):
    """Scikit-learn's, whose C counts by summed losses."""
    return LogisticRegression(C=1 / (penalty * weight.sum()), tol=1e-9, max_iter=1000).fit(X, y, sample_weight=weight)


def test_each_fold_is_told_by_scikit_learns_fit_to_the_others(table, monkeypatch):
    monkeypatch.setattr(logistic, "PENALTIES", (0.01,))
    rows, y, weight = table
    fold = np.arange(N) % 3
    estimator, held_out = fitted(rows, y, weight, np.arange(N), fold)
    X, expected, coefficients = rows[:, 0].numpy(), np.empty((N, K)), []
    for one in range(3):
        model = peer(X[fold != one], y[fold != one], weight.numpy()[fold != one], 0.01)
        expected[fold == one] = model.predict_proba(X[fold == one])
        coefficients.append(model.coef_.T)
    np.testing.assert_allclose(held_out, expected, atol=1e-3)
    found = estimator.coefficients - estimator.coefficients.mean(1, keepdim=True)
    np.testing.assert_allclose(found, np.mean(coefficients, axis=0), atol=5e-3)


def test_the_penalty_is_that_of_least_held_out_loss(table, monkeypatch):
    rows, y, weight = table
    losses = {}
    for penalty in logistic.PENALTIES:
        monkeypatch.setattr(logistic, "PENALTIES", (penalty,))
        held_out = fitted(rows, y, weight, np.arange(N), np.arange(N) % 4)[1]
        losses[penalty] = -float(weight @ held_out[np.arange(N), y].log())
    monkeypatch.setattr(logistic, "PENALTIES", tuple(losses))
    held_out = fitted(rows, y, weight, np.arange(N), np.arange(N) % 4)[1]
    assert -float(weight @ held_out[np.arange(N), y].log()) == pytest.approx(min(losses.values()), rel=1e-4)


def test_rows_beyond_the_folds_are_learnt_from_and_not_told(table, monkeypatch):
    monkeypatch.setattr(logistic, "PENALTIES", (0.01,))
    rows, y, weight = table
    order = np.random.default_rng(1).permutation(N)
    _, held_out = fitted(rows, y, weight, order, np.zeros(30, int))
    own, others = order[:30], order[30:]
    X = rows[:, 0].numpy()
    model = peer(X[others], y[others], weight.numpy()[others], 0.01)
    np.testing.assert_allclose(held_out, model.predict_proba(X[own]), atol=1e-3)


def test_the_sharpness_is_that_of_least_held_out_loss(table, monkeypatch):
    monkeypatch.setattr(logistic, "PENALTIES", (0.3,))  # which makes probabilities too flat
    rows, y, weight = table
    flat, flat_held_out = fitted(rows, y, weight, np.arange(N), np.arange(N) % 4)
    losses = {
        s: -float(weight @ torch.log_softmax(s * flat_held_out.log(), 1)[np.arange(N), y])
        for s in (0.5, 1.0, 2.0, 4.0, 8.0)
    }
    best = min(losses, key=losses.get)
    assert 1 < best < 8
    monkeypatch.setattr(logistic, "SHARPNESSES", tuple(losses))
    sharp, held_out = fitted(rows, y, weight, np.arange(N), np.arange(N) % 4)
    assert -float(weight @ held_out[np.arange(N), y].log()) == pytest.approx(losses[best])
    torch.testing.assert_close(sharp.coefficients, best * flat.coefficients)


@pytest.mark.parametrize("values", [2**24, N * D // 2])
def test_more_rows_than_the_folds_are_learnt_from_in_the_end(table, monkeypatch, values):
    """All of them, or evenly spread ones; the penalty of the summed loss stays."""
    monkeypatch.setattr(logistic, "PENALTIES", (0.01,))
    monkeypatch.setattr(logistic, "_REFIT_VALUES", values)
    rows, y, weight = table
    estimator, held_out = fitted(rows, y, weight, np.arange(60), np.arange(60) % 3)
    assert len(held_out) == 60
    X, weight = rows[:, 0].numpy(), weight.numpy()
    step = 1 if values > N * D else 2
    model = LogisticRegression(C=1 / (0.01 * 40 / (N // step) * weight[::step].sum()), tol=1e-9, max_iter=1000)
    model.fit(X[::step], y[::step], sample_weight=weight[::step])
    found = estimator.coefficients - estimator.coefficients.mean(1, keepdim=True)
    np.testing.assert_allclose(found, model.coef_.T, atol=5e-3)


def test_layers_are_summed_by_their_weights(table):
    rows, y, weight = table
    mixed = 0.25 * rows[:, :1] + 0.75 * rows[:, 1:2]
    two, _ = fitted(rows, y, weight, np.arange(N), np.arange(N) % 3, (0.25, 0.75))
    one, _ = fitted(mixed, y, weight, np.arange(N), np.arange(N) % 3, (1.0,))
    np.testing.assert_allclose(two.estimate(rows), one.estimate(mixed), atol=1e-9)


def test_rows_are_read_in_blocks(table, monkeypatch):
    rows, y, weight = table
    whole, _ = fitted(rows, y, weight, np.arange(N), np.arange(N) % 3)
    monkeypatch.setattr(training_rows, "_BLOCK_VALUES", 100)
    parts, _ = fitted(rows, y, weight, np.arange(N), np.arange(N) % 3)
    assert torch.equal(whole.coefficients, parts.coefficients)


def test_a_class_that_came_later_has_no_probability():
    before = LogisticEstimator(torch.randn(D, 2), torch.randn(2), torch.ones(1))
    after = before.with_classes(np.array([0, 2, 1]))
    rows = torch.randn(5, 1, D)
    found = after.estimate(rows)
    assert (found[:, 1] == 0).all()
    torch.testing.assert_close(found[:, [0, 2]], before.estimate(rows))


def test_features_too_large_to_be_learnt_from_say_nothing(table):
    rows, y, weight = table
    huge = (rows * 1e30).float()
    estimator, held_out = fitted(huge, y, weight, np.arange(N), np.arange(N) % 3)
    torch.testing.assert_close(held_out, torch.full((N, K), 1 / K))
    assert (estimator.coefficients == 0).all()
    torch.testing.assert_close(estimator.estimate(huge), torch.full((N, K), 1 / K))
