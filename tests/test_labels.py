"""Held-out estimates of the training rows, suspect labels, and prediction sets from them."""

import pickle
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
from mapie.classification import SplitConformalClassifier
from sklearn.datasets import make_classification
from sklearn.metrics import average_precision_score
from sklearn.svm import SVC

from benchmarks.labels import Probabilities
from gendiffclf import GenerativeTransportClassifier, label_quality

ESTIMATORS = ["both", "kernel", "network"]


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("share", [0.1, 0.2])
def test_flipped_labels_come_first(tiny, iris, estimator, share):
    X, y = iris
    flipped = np.random.default_rng(0).random(150) < share
    noisy = np.where(flipped, (y + 1) % 3, y)
    steps = {"max_steps": 100} if estimator == "network" else {}
    found = label_quality(X, noisy, classifier=tiny(estimator=estimator, **steps))
    assert sorted(found.ranking.tolist()) == list(range(150))
    assert (np.diff(found.score[found.ranking]) >= 0).all()
    assert average_precision_score(flipped, -found.score) > 0.85
    assert (found.proposed[flipped] == y[flipped]).mean() > 0.8


def test_held_out_estimates_are_those_of_a_fit_without_the_row(iris):
    """With the hyperparameters fixed by a large table, one row more hardly moves them."""
    X, y = iris
    classifier = GenerativeTransportClassifier(estimator="kernel").fit(X, y)
    row = 70
    place = np.flatnonzero(classifier.held_out_index_ == row)[0]
    without = GenerativeTransportClassifier(estimator="kernel").fit(np.delete(X, row, 0), np.delete(y, row))
    np.testing.assert_allclose(classifier.held_out_proba_[place], without.predict_proba(X[[row]])[0], atol=0.1)
    assert np.abs(classifier.held_out_proba_[place] - classifier.predict_proba(X[[row]])[0]).max() > 1e-4


def test_equal_rows_and_rows_of_no_weight(tiny, iris):
    X = iris[0] + 1e-3 * np.random.default_rng(0).standard_normal(iris[0].shape)  # none recurs by chance
    X, y = np.vstack([X, X[:5]]), np.r_[iris[1], iris[1][:5]]
    weight = np.ones(155)
    weight[9] = 0
    classifier = tiny().fit(X, y, sample_weight=weight)
    assert classifier.held_out_index_.tolist() == np.delete(np.arange(155), 9).tolist()
    np.testing.assert_array_equal(classifier.held_out_proba_[:5], classifier.held_out_proba_[-5:])
    found = label_quality(X, y, classifier=tiny(), sample_weight=weight)
    assert np.isnan(found.score[9])
    assert found.proposed[9] == y[9]
    assert 9 not in found.ranking


def test_without_validation_rows_there_are_no_held_out_estimates(tiny, iris):
    classifier = tiny(estimator="network", n_members=1, patience=None).fit(*iris)
    assert classifier.held_out_index_.shape == (0,)
    assert classifier.held_out_proba_.shape == (0, 3)


def test_labels_that_cannot_be_judged(tiny, iris):
    with pytest.raises(
        ValueError, match=r"Got 150 rows and a classifier that held none of them out, expected .*; add rows, or use"
    ):
        label_quality(*iris, classifier=tiny(estimator="network", n_members=1, patience=None))
    with pytest.raises(TypeError, match="Got a classifier of type SVC, expected a GenerativeTransportClassifier"):
        label_quality(*iris, classifier=SVC())


def test_nullable_integers_stay_integers(tiny, iris):
    X, y = iris
    classifier = tiny(estimator="kernel")
    found = label_quality(X, pd.Series(y, dtype="Int64"), classifier=classifier)
    assert found.proposed.dtype == y.dtype
    np.testing.assert_array_equal(found.score, label_quality(X, y, classifier=classifier).score)


@pytest.mark.parametrize("kind", ["list", "category", "string", "polars"])
def test_labels_of_every_kind(tiny, iris, kind):
    X, y = iris
    names = np.array(["setosa", "versicolor", "virginica"])[y]
    names[7] = "virginica"
    make = {"list": list, "polars": pl.Series}.get(kind, lambda values: pd.Series(values, dtype=kind))
    found = label_quality(X, make(names), classifier=tiny(estimator="kernel"))
    assert found.ranking[0] == 7
    assert found.proposed[7] == "setosa"


def test_held_out_estimates_stay_out_of_files_and_pickles(tiny, iris, tmp_path):
    classifier = tiny().fit(*iris)
    classifier.save(tmp_path / "model")
    loaded = GenerativeTransportClassifier.load(tmp_path / "model")
    for other in (loaded, pickle.loads(pickle.dumps(classifier))):
        assert not {"held_out_index_", "held_out_proba_"} & set(vars(other))
        np.testing.assert_array_equal(other.predict_proba(iris[0]), classifier.predict_proba(iris[0]))
    assert len(classifier.held_out_index_) > 100


@pytest.mark.parametrize("estimator", ["kernel", "both"])
def test_prediction_sets_of_mapie_cover_what_was_asked(tiny, estimator):
    X, y = make_classification(4000, 8, n_informative=5, n_classes=3, class_sep=0.7, flip_y=0.1, random_state=0)
    classifier = tiny(estimator=estimator, n_centers=400).fit(X[:1500], y[:1500])
    columns = Probabilities(classifier.classes_).fit(None, None)
    sets = SplitConformalClassifier(columns, confidence_level=[0.8, 0.9, 0.95], prefit=True)
    sets.conformalize(classifier.held_out_proba_, y[:1500][classifier.held_out_index_])
    _, found = sets.predict_set(classifier.predict_proba(X[1500:]))  # (n, K, levels)
    covered = found[np.arange(2500), y[1500:]].mean(0)
    np.testing.assert_allclose(covered, [0.8, 0.9, 0.95], atol=0.03)
    assert found.sum(1).mean(0)[1] < 2.5


def test_prediction_sets_by_class_cover_each_class(tiny):
    X, y = make_classification(8000, 8, n_informative=5, weights=[0.8], class_sep=0.7, random_state=0)
    classifier = tiny(estimator="kernel", n_centers=400).fit(X[:4000], y[:4000])
    columns = Probabilities(classifier.classes_).fit(None, None)
    held_out_y, proba = y[:4000][classifier.held_out_index_], classifier.predict_proba(X[4000:])

    def covered(rows):
        sets = SplitConformalClassifier(columns, confidence_level=0.9, prefit=True)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*less labels")
            sets.conformalize(classifier.held_out_proba_[rows], held_out_y[rows])
        return sets.predict_set(proba)[1][:, :, 0]

    marginal, rare = covered(np.full(len(held_out_y), True)), y[4000:] == 1
    assert marginal[rare, 1].mean() < 0.8
    by_class = [covered(held_out_y == label)[y[4000:] == label, label].mean() for label in (0, 1)]
    np.testing.assert_allclose(by_class, 0.9, atol=0.05)


def test_every_row_has_a_score_where_the_kernel_learned_which_features_matter(tiny):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(1600, 40))
    y = X[:, 0] + np.abs(X[:, 1]) > 0.7
    flipped = rng.choice(1600, 80, replace=False)
    noisy = y.copy()
    noisy[flipped] = ~noisy[flipped]
    classifier = tiny(estimator="kernel")
    relevance = classifier.fit(X, noisy).feature_relevance_
    assert relevance[:2].sum() > 10 * relevance[2:].mean()
    found = label_quality(X, noisy, classifier=classifier)
    assert np.isfinite(found.score).all()
    for rows in (flipped[flipped < 500], flipped[flipped >= 500]):
        assert np.median(found.score[rows]) < 0.3


def test_prediction_sets_by_group_cover_each_group(tiny):
    classification = pytest.importorskip("mapie.classification")
    rng = np.random.default_rng(0)
    X, y = make_classification(8000, 8, n_informative=5, class_sep=1.0, flip_y=0, random_state=0)
    noisy = rng.random(8000) < 0.2  # in one hospital, half of the labels are chance
    y = np.where(noisy & (rng.random(8000) < 0.5), rng.integers(0, 2, 8000), y)
    classifier = tiny(estimator="kernel", n_centers=400).fit(X[:4000], y[:4000])
    columns = Probabilities(classifier.classes_).fit(None, None)
    held_out = classifier.held_out_index_
    tested = np.arange(4000, 8000)

    def covered(rows, tested):
        sets = classification.SplitConformalClassifier(columns, confidence_level=0.9, prefit=True)
        sets.conformalize(classifier.held_out_proba_[rows], y[held_out[rows]])
        return sets.predict_set(classifier.predict_proba(X[tested]))[1][np.arange(len(tested)), y[tested], 0].mean()

    assert covered(np.full(len(held_out), True), tested[noisy[tested]]) < 0.85
    by_group = [covered(noisy[held_out] == one, tested[noisy[tested] == one]) for one in (False, True)]
    np.testing.assert_allclose(by_group, 0.9, atol=0.04)
