"""Missing values: filled from the other values of their row, with a column of their own where they go with the class."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from gendiffclf import GenerativeTransportClassifier, missing
from gendiffclf.missing import MissingValues
from gendiffclf.preprocessing import SCALINGS, FeatureScaler, n_views

ESTIMATORS = ["both", "network", "kernel"]
tables = arrays(np.float64, (12, 3), elements=st.floats(-100, 100) | st.just(np.nan))


def with_gaps(X: np.ndarray, share: float = 0.2, seed: int = 0) -> np.ndarray:
    gaps = np.random.default_rng(seed).random(X.shape) < share
    gaps[gaps.all(axis=1)] = False
    return np.where(gaps, np.nan, X)


@pytest.mark.parametrize("kind", SCALINGS)
@given(train=tables, new=tables)
def test_scaled_rows_are_finite(kind, train, new):
    scaler = FeatureScaler.fit(train[:, None], np.ones(12), kind)
    found = scaler.transform(new[:, None])
    assert np.isfinite(found).all()
    assert found.shape == (12, n_views(kind), scaler.n_features_out)
    never, always = np.isnan(train).any(0), np.isnan(train).all(0)
    np.testing.assert_array_equal(scaler.missing.gaps, np.flatnonzero(never & ~always))
    assert (found[:, :, :3][:, :, always] == 0).all()


@pytest.mark.parametrize("kind", SCALINGS)
def test_present_values_are_scaled_as_if_the_others_were_not_there(kind):
    X = np.random.default_rng(0).normal(5, 3, (60, 1, 2))
    present = X[:40].copy()
    X[40:, 0, 1] = np.nan
    weight = np.random.default_rng(1).uniform(1, 2, 60)
    found = FeatureScaler.fit(X, weight, kind).transform(X)
    expected = FeatureScaler.fit(present, weight[:40], kind).transform(present)
    np.testing.assert_allclose(found[:40, :, 1], expected[:, :, 1], rtol=1e-6)


def correlated(n: int = 400, n_gaps: int = 0, seed: int = 0) -> np.ndarray:
    """Rows of four features that share a factor, the last one against its sign; the first rows lack the third."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 1)) * [1, 1, 1, -1] + 0.5 * rng.normal(size=(n, 4))
    X[:n_gaps, 2] = np.nan
    return X


@pytest.mark.parametrize("kind", ["standard", "none"])
def test_a_missing_value_becomes_its_mean_given_the_others(kind):
    """In closed form; the correlations that it is computed from are shrunk by a tenth."""
    X = correlated()
    scaler = FeatureScaler.fit(X[:, None], np.ones(400), kind)
    rows = correlated(50, seed=1)
    expected = scaler.transform(rows[:, None])[:, 0]
    gap = np.random.default_rng(2).random(rows.shape) < 0.5
    found = scaler.transform(np.where(gap, np.nan, rows)[:, None])[:, 0]
    np.testing.assert_array_equal(found[~gap], expected[~gap])
    scaled = scaler.transform(X[:, None])[:, 0].astype(float)
    mean, covariance = scaled.mean(0), np.cov(scaled.T, bias=True) * 400 / 405
    covariance[np.diag_indices(4)] *= 1.1
    for row, gone, got in zip(expected, gap, found, strict=True):
        rest = covariance[np.ix_(gone, ~gone)] @ np.linalg.pinv(covariance[np.ix_(~gone, ~gone)])
        np.testing.assert_allclose(got[gone], mean[gone] + rest @ (row - mean)[~gone], atol=2e-3)
    assert np.abs(found - expected)[gap].mean() < 0.7 * np.abs(mean - expected)[gap].mean()


@given(
    X=arrays(np.float64, (10, 4), elements=st.floats(-1e6, 1e6) | st.just(np.nan)),
    weight=arrays(np.float64, 10, elements=st.floats(1e-3, 1e3)),
)
def test_filling_never_diverges(X, weight):
    """Whatever the correlations: a value that is filled in is not far beyond those that there are."""
    scaler = FeatureScaler.fit(X[:, None], weight, "quantile")
    assert np.abs(scaler.transform(X[:, None])).max() < 20
    scaled = MissingValues.fit(X[:, None], np.arange(10), 1000 * weight, scaler._scaled, np.empty(0, int)).gradient
    np.testing.assert_allclose(
        scaled, scaler.missing.gradient, rtol=1e-4, atol=1e-6
    )  # the scale of weights does not matter


def test_wide_rows_get_means(monkeypatch):
    monkeypatch.setattr("gendiffclf.missing._LARGEST_MATRIX", 15)
    X = correlated(n_gaps=50)
    scaler = FeatureScaler.fit(X[:, None], np.ones(400), "standard")
    assert scaler.missing.gradient.shape == (1, 0, 0)
    np.testing.assert_allclose(scaler.transform(X[:, None])[:50, 0, 2], 0, atol=1e-6)


def test_many_categories_leave_numbers_their_correlations(monkeypatch):
    """With categories beside them, gaps in numbers get the same values as without, where all features are too many."""
    X, categories = correlated(n_gaps=50), np.eye(8)[np.arange(400) % 8]
    without = FeatureScaler.fit(X[:, None], np.ones(400), "standard").transform(X[:, None])
    monkeypatch.setattr("gendiffclf.missing._LARGEST_MATRIX", 99)
    wide = np.insert(X, [1], categories, axis=1)
    scaler = FeatureScaler.fit(wide[:, None], np.ones(400), "standard", indicators=np.arange(1, 9))
    wide[7, 1:9] = np.nan  # a category that was not seen
    scaled = scaler.transform(wide[:, None])
    np.testing.assert_allclose(np.delete(scaled, np.arange(1, 9), axis=2), without, rtol=1e-6)
    np.testing.assert_allclose(scaled[7, 0, 1:9], 0, atol=1e-6)


@pytest.mark.parametrize("kind", SCALINGS)
def test_gaps_that_go_with_the_class_get_a_column(kind):
    rng = np.random.default_rng(0)
    X, y = rng.gamma(2, size=(400, 2, 3)), rng.integers(0, 2, 400)
    X[rng.random((400, 2)) < 0.3, 0] = np.nan  # in both classes
    X[(y == 1) & (rng.random(400) < 0.5), 0, 1] = np.nan
    scaler = FeatureScaler.fit(X, np.ones(400), kind, labels=y)
    np.testing.assert_array_equal(scaler.missing.gaps, [1])
    layers = scaler.transform(X).reshape(400, -1, 2, 4)  # (n, views, layers, d + 1)
    gap = np.isnan(X[:, 0, 1])
    np.testing.assert_allclose(layers[:, :, 0, 3], (gap - gap.mean())[:, None].repeat(n_views(kind), 1), rtol=1e-6)
    np.testing.assert_array_equal(layers[:, :, 1, 3], 0)
    doubled = FeatureScaler.fit(X, np.full(400, 1e-3), kind, labels=y)
    np.testing.assert_array_equal(doubled.missing.gaps, [1])


@pytest.mark.parametrize("kind", SCALINGS)
def test_gaps_that_mean_a_class_by_the_value_of_another_feature_get_a_column(kind):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 2, 4))
    gap = rng.random((400, 2)) < 0.5
    X[gap[:, 0], 0, 0], X[gap[:, 1], 1, 1] = np.nan, np.nan
    y = gap[:, 1] ^ (X[:, 1, 3] > 0)
    assert FeatureScaler.fit(X, np.ones(400), kind, labels=y).missing.gaps.tolist() == [1]
    assert FeatureScaler.fit(X, np.full(400, 1e-3), kind, labels=y).missing.gaps.tolist() == [1]


def test_where_products_would_take_too_long_gaps_are_tested_alone(monkeypatch):
    monkeypatch.setattr(missing, "_MOST_PRODUCTS", 2 * 5 * 2 - 1)
    rng = np.random.default_rng(0)
    X, gap = rng.normal(size=(400, 1, 5)), rng.random((400, 2)) < 0.5
    X[:, 0, :2][gap] = np.nan
    y = gap[:, 0] ^ (X[:, 0, 3] > 0)
    X[y & (rng.random(400) < 0.3), 0, 1] = np.nan
    assert FeatureScaler.fit(X, np.ones(400), "none", labels=y).missing.gaps.tolist() == [1]


@pytest.mark.parametrize("kind", ["mixed", "standard"])
@pytest.mark.parametrize("classes", ["twenty", "the first is rare", "the last is rare"])
def test_classes_of_few_rows_and_long_tails_are_no_sign_of_gaps_that_mean_something(kind, classes):
    rng, n_with_column = np.random.default_rng(0), 0
    for _ in range(60):
        y = rng.integers(0, 20, 400) if classes == "twenty" else (np.arange(400) < 3) ^ (classes == "the first is rare")
        X = rng.lognormal(sigma=1.5, size=(400, 1, 8))
        X[rng.random(X.shape) < 0.05] = np.nan
        n_with_column += len(FeatureScaler.fit(X, np.ones(400), kind, labels=y).missing.gaps) > 0
    assert n_with_column <= 12


def test_gaps_at_random_rarely_get_a_column():
    """Once in some seventeen tables, by tests at 5 and 1 %, also of features that matter, and of two that are missing at once."""
    rng, n_with_column = np.random.default_rng(0), 0
    for _ in range(200):
        y, gaps = rng.integers(0, 3, 150), rng.random((150, 1, 8)) < 0.2
        gaps[:, :, 1] = gaps[:, :, 0]
        X = np.where(gaps, np.nan, rng.normal(size=(150, 1, 8)) + 0.5 * y[:, None, None])
        n_with_column += len(FeatureScaler.fit(X, np.ones(150), "none", labels=y).missing.gaps) > 0
    assert n_with_column <= 20


def test_a_feature_of_which_nothing_is_known_never_counts():
    X = np.random.default_rng(0).normal(size=(30, 2))
    X[:, 1] = np.nan
    classifier = GenerativeTransportClassifier(estimator="kernel", random_state=0).fit(X, X[:, 0] > 0)
    other = np.c_[X[:, 0], np.full(30, 1e6)]
    np.testing.assert_array_equal(classifier.predict_proba(X), classifier.predict_proba(other))


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("scaling", ["mixed", "none"])
def test_a_gap_that_was_not_seen_in_training_is_filled_from_the_others(tiny, iris, estimator, scaling):
    X, y = iris
    classifier = tiny(estimator=estimator, scaling=scaling).fit(X, y)
    assert classifier.scaler_.n_features_out == 4
    gap = X[:3].copy()
    gap[:, 2] = np.nan
    found = classifier.predict_proba(gap)
    assert np.isfinite(found).all()
    if scaling == "none":
        filled = X[:3].copy()
        filled[:, 2] = classifier.scaler_.transform(gap[:, None])[:, 0, 2]
        np.testing.assert_allclose(found, classifier.predict_proba(filled), atol=1e-4)
        assert np.abs(filled - X[:3])[:, 2].max() < 0.7  # their mean is 2.3 away


@pytest.mark.parametrize("estimator", ["both", "kernel"])
def test_that_a_value_is_missing_can_decide(tiny, estimator):
    """Only gaps tell the classes apart."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(200, 3)), rng.integers(0, 2, 200)
    X[y == 1, 1] = np.nan
    classifier = tiny(estimator=estimator).fit(X[:100], y[:100])
    assert classifier.score(X[100:], y[100:]) == 1


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_later_rows_and_files_may_have_gaps(tiny, iris, tmp_path, estimator):
    X, y = with_gaps(iris[0]), iris[1]
    classifier = tiny(estimator=estimator).fit(X, y)
    classifier.save(tmp_path / "model")
    loaded = GenerativeTransportClassifier.load(tmp_path / "model")
    np.testing.assert_array_equal(loaded.predict_proba(X), classifier.predict_proba(X))
    if estimator != "network":
        later = loaded.partial_fit(X[:20], np.full(20, 7)).predict_proba(X)
        assert later.shape == (150, 4)
        assert np.isfinite(later).all()


@pytest.mark.parametrize("n_rows", [1, 40])
def test_a_row_with_gaps_is_the_same_alone_and_among_others(tiny, iris, n_rows):
    X, y = with_gaps(iris[0]), iris[1]
    classifier = tiny().fit(X, y)
    alone = np.concatenate([classifier.predict_proba(row[None]) for row in X[:n_rows]])
    np.testing.assert_allclose(classifier.predict_proba(X[:n_rows]), alone, atol=1e-4)


def test_the_only_feature_may_have_gaps_too(tiny, iris):
    """A row of one NaN is a row of NaN only, whatever the number of features."""
    X, y = iris[0][:, 2:3].copy(), iris[1]
    X[3] = np.nan
    with pytest.warns(UserWarning, match="1 of 150 rows of NaN only"):
        classifier = tiny().fit(X, y)
    for rows in (X[3:4], X[:50]):
        with pytest.warns(UserWarning, match="rows of NaN only"):
            found = classifier.predict_proba(rows)
        np.testing.assert_allclose(found[-1 if len(rows) == 1 else 3], classifier.class_prior_)


def test_equal_rows_with_gaps_are_one_row_of_their_summed_weight(tiny, iris):
    X, y = with_gaps(iris[0]), iris[1]
    weight = np.random.default_rng(0).integers(1, 4, 150)
    weighted = tiny().fit(X, y, sample_weight=weight)
    repeated = tiny().fit(np.repeat(X, weight, axis=0), np.repeat(y, weight))
    np.testing.assert_allclose(weighted.predict_proba(X), repeated.predict_proba(X), atol=1e-6)
    assert np.isnan(X).any(axis=1).sum() > 50


def test_rows_on_disk_may_have_gaps(tiny, iris, tmp_path):
    X, y = with_gaps(iris[0]), iris[1]
    np.save(tmp_path / "rows.npy", X)
    mapped = np.load(tmp_path / "rows.npy", mmap_mode="r")
    np.testing.assert_array_equal(tiny().fit(mapped, y).predict_proba(X), tiny().fit(X, y).predict_proba(X))


@pytest.mark.parametrize("scale", [1e-200, 1e200])
def test_the_scale_of_weights_does_not_matter(tiny, iris, scale):
    X, y = iris
    X[::7, 1] = np.nan
    found = tiny(estimator="kernel").fit(X, y, sample_weight=np.full(150, scale)).predict_proba(X)
    np.testing.assert_allclose(found, tiny(estimator="kernel").fit(X, y).predict_proba(X), atol=1e-6)


def test_gaps_of_pandas_in_an_array_of_objects(tiny, iris):
    X, y = iris
    frame = pd.DataFrame(X).convert_dtypes()
    frame.iloc[7, 1] = pd.NA
    classifier = tiny()
    with pytest.raises(
        ValueError, match=r"Got X with pandas\.NA in an array of objects.*to_numpy\(dtype=float, na_value"
    ):
        classifier.fit(frame.to_numpy(dtype=object), y)
    classifier.fit(frame.to_numpy(dtype=float, na_value=np.nan), y)
    with pytest.raises(ValueError, match=r"Got X with pandas\.NA"):
        classifier.predict(frame.to_numpy(dtype=object))
