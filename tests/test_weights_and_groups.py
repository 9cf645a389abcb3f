"""Weights of rows and classes, and groups of rows that are held out together."""

import itertools

import numpy as np
import pytest
from sklearn.metrics import log_loss

from gendiffclf import fitting
from gendiffclf.fitting import CORRELATION_IN_GROUPS

ESTIMATORS = ("both", "network", "kernel")


@pytest.mark.parametrize("changes", [{}, {"estimator": "network"}, {"estimator": "kernel", "n_centers": 30}], ids=repr)
def test_a_weight_is_a_repetition(tiny, iris, changes):
    X, y = iris
    weight = np.random.default_rng(0).integers(0, 4, 150)
    weighted = tiny(**changes).fit(X, y, sample_weight=weight)
    repeated = tiny(**changes).fit(np.repeat(X, weight, axis=0), np.repeat(y, weight))
    np.testing.assert_allclose(weighted.predict_proba(X), repeated.predict_proba(X), atol=1e-9)
    np.testing.assert_allclose(weighted.class_prior_, np.bincount(y, weight) / weight.sum())


def test_a_common_factor_of_the_weights_does_not_matter(tiny, iris):
    X, y = iris
    one, other = tiny().fit(X, y, np.ones(150)), tiny().fit(X, y, np.full(150, 4.0))
    np.testing.assert_allclose(one.predict_proba(X), other.predict_proba(X), atol=1e-9)


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_class_weights(tiny, digits, estimator):
    """A dictionary is the same as weights of rows, and "balanced" gives all classes one sum."""
    X, y = digits
    rows = np.r_[np.flatnonzero(y == 8)[:100], np.flatnonzero(y == 9)[:25]]
    X, y = X[rows], y[rows]
    X += 20 * np.random.default_rng(0).standard_normal(X.shape)  # hard to tell apart: the prior matters

    def proba(class_weight=None, sample_weight=None):
        return tiny(estimator=estimator, class_weight=class_weight).fit(X, y, sample_weight).predict_proba(X)

    np.testing.assert_allclose(proba({8: 0.5, 9: 2.0}), proba(None, np.where(y == 8, 0.5, 2.0)), atol=1e-9)
    balanced = proba("balanced")
    np.testing.assert_allclose(balanced, proba({8: 0.625, 9: 2.5}), atol=1e-6)
    assert balanced[:, 1].mean() > proba()[:, 1].mean() + 0.05


def test_a_weight_for_a_class_that_a_fold_lacks_is_no_error(tiny, iris):
    X, y = iris
    tiny(class_weight={0: 1, 1: 2, 2: 3}).fit(X[:100], y[:100])


def speech(seed=0, n=960):
    """48 speakers who say either label in a way of their own; one feature of seven has what they share."""
    rng = np.random.default_rng(seed)
    speaker, y = np.arange(n) % 48, np.arange(n) // 48 % 2
    manner = 1.5 * rng.standard_normal((48, 2, 6))
    own = manner[speaker, y] + 0.1 * rng.standard_normal((n, 6))
    return np.concatenate([own, y[:, None] + 0.8 * rng.standard_normal((n, 1))], axis=1), y, speaker


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_groups_are_held_out_together(tiny, estimator):
    """Where rows tell their group, only held-out groups show how little is known of new ones."""
    X, y, speaker = speech()
    known = speaker < 24
    losses = []
    for groups in (None, speaker[known]):
        classifier = tiny(estimator=estimator, max_steps=60, n_members=3).fit(X[known], y[known], groups=groups)
        losses.append(log_loss(y[~known], classifier.predict_proba(X[~known])))
    assert losses[1] < 0.69  # of equal probabilities
    assert losses[1] < losses[0] - 0.05


def manners(n_groups, seed):
    """Rows of groups that each show three classes in a manner of their own, so that errors come in whole groups."""
    rng = np.random.default_rng(seed)
    group, y = np.repeat(np.arange(n_groups), 60), rng.integers(0, 3, 60 * n_groups)
    usual, own = np.random.default_rng(0).normal(0, 1, (3, 30)), rng.normal(0, 0.7, (n_groups, 3, 30))
    X = rng.normal(0, 2, (n_groups, 30))[group] + usual[y] + own[group, y] + rng.normal(0, 0.5, (len(y), 30))
    return X, y, group


def test_few_groups_are_little_evidence(tiny, monkeypatch):
    """If the held-out rows of four speakers are all right by luck, those of others will not be."""
    losses: dict[float, list[float]] = {CORRELATION_IN_GROUPS: [], 0.0: []}
    for seed, correlation in itertools.product(range(8), losses):
        monkeypatch.setattr(fitting, "CORRELATION_IN_GROUPS", correlation)
        X, y, groups = manners(4, seed)
        X_new, y_new, _ = manners(50, seed + 100)
        classifier = tiny(estimator="kernel").fit(X, y, groups=groups)
        n = 240 / (1 + correlation * 59)
        assert classifier.combination_.floor == pytest.approx(1 / (n + 2))
        losses[correlation].append(log_loss(y_new, classifier.predict_proba(X_new)))
    assert np.mean(losses[CORRELATION_IN_GROUPS]) < np.mean(losses[0.0]) - 0.05


def test_few_large_weights_are_little_evidence(tiny):
    """If the rows of large weight are right by luck, new ones will not be."""
    losses = []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        X, y, weight = rng.normal(size=(40, 6)), rng.integers(0, 2, 40), rng.lognormal(0, 3, 40)
        classifier = tiny(estimator="kernel").fit(X, y, sample_weight=weight)
        n = weight.sum() ** 2 / (weight**2).sum()
        assert classifier.combination_.floor == pytest.approx(1 / (n + 2))
        losses.append(log_loss(rng.integers(0, 2, 500), classifier.predict_proba(rng.normal(size=(500, 6)))))
    assert np.mean(losses) < 0.93  # 1.01 if they counted as 40 rows


def test_rows_that_recur_by_chance_are_evidence_although_their_weights_are_unequal(tiny):
    rng = np.random.default_rng(0)
    X = rng.choice(2, (2000, 2), p=[0.9, 0.1]).astype(float)
    y = (rng.random(2000) < 0.1 + 0.3 * X[:, 0]).astype(int)
    classifier = tiny(estimator="kernel").fit(X, y)
    n = len(classifier.kernel_.centers)
    assert classifier.combination_.floor == pytest.approx(1 / (n + 2))


def test_groups_without_weight_do_not_matter(tiny, iris):
    X, y = iris
    groups, weight = np.arange(150) % 7, np.where(np.arange(150) % 7 == 3, 0.0, 1.0)
    rest = weight > 0
    one, other = (
        tiny().fit(X, y, sample_weight=weight, groups=groups),
        tiny().fit(X[rest], y[rest], groups=groups[rest]),
    )
    np.testing.assert_array_equal(one.predict_proba(X), other.predict_proba(X))
    with pytest.warns(UserWarning, match="groups with 3 alone"):
        tiny().fit(X, y, sample_weight=1 - weight, groups=groups)


def test_names_of_groups_do_not_matter(tiny, iris):
    X, y = iris
    groups = np.arange(150) % 7
    one, other = tiny().fit(X, y, groups=groups), tiny().fit(X, y, groups=np.array(list("abcdefg"))[groups])
    np.testing.assert_array_equal(one.predict_proba(X), other.predict_proba(X))
