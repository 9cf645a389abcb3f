"""Scores of unusual rows, their threshold, and the representation."""

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import make_pipeline

from gendiffclf.novelty import Novelty

ESTIMATORS = ("both", "network", "kernel")


@pytest.fixture(scope="module", params=ESTIMATORS)
def fitted(request, tiny):
    """A classifier that lacks the digit 3, rows of the others, and rows of it."""
    X, y = load_digits(return_X_y=True)
    known = y != 3
    changes = {"width": 64, "max_steps": 150, "depth": 2, "learning_rate": 0.01}
    classifier = tiny(estimator=request.param, **changes).fit(X[known][::2], y[known][::2])
    return classifier, X[known][1::2], X[~known]


def test_a_class_that_training_lacked_is_novel(fitted):
    classifier, ordinary, other = fitted
    score = np.r_[classifier.score_samples(ordinary), classifier.score_samples(other)]
    assert (score <= 0).all()
    assert roc_auc_score(np.arange(len(score)) >= len(ordinary), -score) > 0.85


@pytest.mark.parametrize("quantile", [0.05, 0.1, 0.2])
def test_as_many_ordinary_rows_are_novel_as_the_quantile_says(fitted, quantile):
    classifier, ordinary, other = fitted
    share = classifier.is_novel(ordinary, quantile).mean()
    assert 0.4 * quantile < share < 1.5 * quantile
    assert classifier.is_novel(other, quantile).mean() > 2 * share


def test_predict_answers_none_of_these_on_request(fitted):
    classifier, ordinary, other = fitted
    rows = np.vstack([ordinary[:50], other[:50]])
    novel, labels = classifier.is_novel(rows, 0.1), classifier.predict(rows)
    assert novel.any()
    found = classifier.predict(rows, novelty_quantile=0.1, novelty_label=-1)
    assert found.dtype == labels.dtype
    np.testing.assert_array_equal(found, np.where(novel, -1, labels))
    assert set(classifier.predict(rows, novelty_quantile=0.1)[novel]) == {None}


def test_quantiles_that_mean_nothing(tiny, iris):
    classifier = tiny().fit(*iris)
    with pytest.raises(ValueError, match=r"Got quantile=1\.5, expected a number in \(0, 1\)"):
        classifier.is_novel(iris[0], 1.5)
    with pytest.raises(
        ValueError, match=r"Got quantile=0\.001 with 1\d\d held-out rows, expected at least 1/1\d\d; take"
    ):
        classifier.is_novel(iris[0], 0.001)


def test_a_long_label_is_not_cut(tiny, iris):
    X, y = iris
    classifier = tiny(estimator="kernel").fit(X, np.array(["a", "b", "c"])[y])
    found = classifier.predict(X + 100, novelty_quantile=0.05, novelty_label="none of these")
    assert set(found) == {"none of these"}


def test_without_held_out_rows_there_is_a_score_but_no_threshold(tiny, iris):
    classifier = tiny(estimator="network", n_members=1, patience=None).fit(*iris)
    assert (classifier.score_samples(iris[0]) <= 0).all()
    with pytest.raises(ValueError, match=r"Got a classifier without held-out rows, expected some .* with a kernel"):
        classifier.is_novel(iris[0])


def test_rows_of_nan_have_no_score_and_are_novel(tiny, iris):
    X, y = iris
    classifier = tiny().fit(X, y)
    X[3] = np.nan
    with pytest.warns(UserWarning, match="NaN"):
        assert np.flatnonzero(np.isnan(classifier.score_samples(X))).tolist() == [3]
    with pytest.warns(UserWarning, match="NaN"):
        assert classifier.is_novel(X)[3]


def test_scores_and_p_values_of_a_uniform_reference():
    measures = np.random.default_rng(0).random((999, 2))
    novelty = Novelty.fit(measures)
    p = novelty.p_value(novelty.score(np.random.default_rng(1).random((4000, 2))))
    np.testing.assert_allclose([(p <= q).mean() for q in (0.05, 0.2, 0.5)], [0.05, 0.2, 0.5], atol=0.05)
    farther = novelty.score(np.array([[1.0, 0.5], [2.0, 0.5], [30.0, 0.5]]))
    assert (np.diff(farther) < 0).all()


def test_the_score_survives_a_file(fitted, tmp_path):
    classifier, ordinary, _ = fitted
    classifier.save(tmp_path / "c.safetensors")
    loaded = type(classifier).load(tmp_path / "c.safetensors")
    np.testing.assert_array_equal(loaded.score_samples(ordinary), classifier.score_samples(ordinary))
    np.testing.assert_array_equal(loaded.is_novel(ordinary), classifier.is_novel(ordinary))


def test_the_representation_of_a_kernel_is_in_the_span_of_the_codes(tiny, iris):
    X, y = iris
    for estimator, rank in (("kernel", 3), ("network", 32)):
        found = tiny(estimator=estimator).fit(X, y).transform(X)
        assert found.shape == (150, 32)
        assert (np.linalg.matrix_rank(found, tol=1e-3) <= 3) == (rank == 3)


def test_the_representation_has_names_and_goes_on_in_a_pipeline(tiny, iris):
    X, y = iris
    classifier = tiny(max_steps=50).fit(X, y)
    names = classifier.get_feature_names_out()
    assert list(names[:2]) == ["generativetransportclassifier0", "generativetransportclassifier1"]
    assert list(classifier.set_output(transform="pandas").transform(X).columns) == list(names)
    pipeline = make_pipeline(tiny(max_steps=50), LogisticRegression()).fit(X[::2], y[::2])
    assert pipeline.score(X[1::2], y[1::2]) > 0.9
