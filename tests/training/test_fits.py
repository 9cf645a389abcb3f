"""Training as users of the classifier see it."""

import numpy as np
import pytest

from gendiffclf import fitting


@pytest.mark.parametrize("changes", [{}, {"batch_size": 7}, {"patience": None}, {"n_members": 3}, {"n_members": 1}])
def test_few_rows_train_too(tiny, iris, changes):
    X, y = iris
    rows = np.r_[:3, 50:53, 100:103]
    classifier = tiny(estimator="network", max_steps=150, learning_rate=0.01, **changes).fit(X[rows], y[rows])
    assert classifier.score(X[rows], y[rows]) > 0.8


def test_a_class_of_one_row_survives_the_hold_out(tiny, iris):
    X, y = iris
    y[0] = 7
    for n_members in (1, 2):
        assert tiny(n_members=n_members).fit(X, y).predict_proba(X).shape == (150, 4)


def test_groups_change_the_folds(tiny, iris):
    X, y = iris
    plain, grouped = tiny().fit(X, y), tiny().fit(X, y, groups=np.arange(150) // 5)
    assert plain.history_["validation_brier"] != grouped.history_["validation_brier"]


def test_the_best_weights_predict(tiny, iris):
    X, y = iris
    y = np.random.default_rng(0).permutation(y)  # which training comes to learn by heart
    changes = {"estimator": "network", "learning_rate": 0.05, "ema_decay": 0.0, "batch_size": 16, "patience": None}
    long = tiny(max_steps=60, **changes).fit(X, y)
    assert long.best_iter_ < long.n_iter_ == 60, "this test needs a run that gets worse again"
    short = tiny(max_steps=long.best_iter_, **changes).fit(X, y)
    np.testing.assert_array_equal(long.predict_proba(X), short.predict_proba(X))


def test_held_out_estimates_of_few_rows_had_no_part_in_the_choice(tiny, monkeypatch):
    """Of labels at random, the held-out probabilities know nothing."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 4)), rng.integers(2, size=60)
    honest = tiny(estimator="kernel").fit(X, y)
    monkeypatch.setattr(fitting, "selection_folds", lambda *_: None)
    hopeful = tiny(estimator="kernel").fit(X, y)
    assert honest.kernel_.settings == hopeful.kernel_.settings
    right = [c.held_out_proba_[np.arange(60), y[c.held_out_index_]].mean() for c in (honest, hopeful)]
    assert right[0] < right[1]
