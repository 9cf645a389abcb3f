"""With the rest of scikit-learn, on real data."""

import joblib
import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, make_column_selector
from sklearn.datasets import load_breast_cancer, load_wine
from sklearn.decomposition import PCA
from sklearn.ensemble import StackingClassifier, VotingClassifier
from sklearn.feature_selection import SelectKBest
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import KBinsDiscretizer, OneHotEncoder, StandardScaler

from gendiffclf import LearnedPath
from gendiffclf.metrics import expected_calibration_error


@pytest.fixture
def quick(tiny):
    """A classifier that learns real tables in a fraction of a second."""
    return tiny(max_steps=40, learning_rate=0.005)


@pytest.fixture(scope="module")
def wine() -> tuple[pd.DataFrame, pd.Series]:
    """178 wines of 3 growers, 13 measurements."""
    return load_wine(return_X_y=True, as_frame=True)


def test_grid_search(quick, wine):
    grid = {"estimator": ["kernel", "both"], "scaling": ["mixed", "standard"], "n_members": [1, 2]}
    search = GridSearchCV(quick, grid, cv=2, error_score="raise").fit(*wine)
    assert len(search.cv_results_["mean_test_score"]) == 8
    assert search.best_score_ > 0.9
    assert search.best_estimator_.get_params()["n_members"] in (1, 2)
    assert search.predict_proba(wine[0]).shape == (178, 3)


def test_cross_validated_predictions_are_calibrated(quick, wine):
    proba = cross_val_predict(quick, *wine, cv=3, method="predict_proba")
    assert np.mean(proba.argmax(1) == wine[1]) > 0.93
    assert log_loss(wine[1], proba) < 0.3
    assert expected_calibration_error(wine[1], proba) < 0.1


@pytest.mark.parametrize("method", ["sigmoid", "isotonic", "temperature"])
def test_calibrated_classifier(quick, wine, method):
    calibrated = CalibratedClassifierCV(quick, method=method, cv=2).fit(*wine)
    assert calibrated.score(*wine) > 0.9


@pytest.mark.parametrize("voting", ["soft", "hard"])
def test_voting(quick, wine, voting):
    logistic = make_pipeline(StandardScaler(), LogisticRegression())
    ensemble = VotingClassifier([("transport", quick), ("logistic", logistic)], voting=voting).fit(*wine)
    assert ensemble.score(*wine) > 0.95


def test_stacking(quick, wine):
    stack = StackingClassifier([("transport", quick)], LogisticRegression(), cv=2).fit(*wine)
    assert stack.score(*wine) > 0.9


def test_columns_of_several_kinds(quick, wine):
    """A category beside numbers, DataFrames all the way, feature names at the end."""
    X, y = wine
    X = X.assign(strength=pd.cut(X["alcohol"], 3, labels=["low", "middle", "high"]).astype(str))
    columns = ColumnTransformer(
        [
            ("numbers", StandardScaler(), make_column_selector(dtype_include="number")),
            ("categories", OneHotEncoder(sparse_output=False), ["strength"]),
        ]
    )
    pipeline = make_pipeline(columns, quick).set_output(transform="pandas").fit(X, y)
    assert pipeline.score(X, y) > 0.95
    names = list(pipeline[-1].feature_names_in_)
    assert len(names) == 16
    assert names[-3:] == ["categories__strength_high", "categories__strength_low", "categories__strength_middle"]


@pytest.mark.parametrize("output", ["default", "pandas", "polars"])
def test_feature_union_with_set_output(quick, wine, output):
    X, y = wine
    union = FeatureUnion([("components", PCA(3)), ("selection", SelectKBest(k=5))])
    pipeline = make_pipeline(StandardScaler(), union, clone(quick)).set_output(transform=output).fit(X, y)
    assert pipeline.score(X, y) > 0.9
    assert hasattr(pipeline[-1], "feature_names_in_") == (output != "default")


def test_permutation_importance_finds_the_feature_that_decides(quick):
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.standard_normal((200, 4)), columns=list("abcd"))
    y = X["c"] > 0
    found = permutation_importance(quick.fit(X, y), X, y, n_repeats=2, random_state=0)
    assert found.importances_mean.argmax() == 2
    assert found.importances_mean[2] > 0.2


def test_threads_do_not_disturb_each_other(quick, wine):
    with joblib.parallel_config(backend="threading"):
        with_two, with_one = (cross_val_score(quick, *wine, cv=4, n_jobs=n_jobs) for n_jobs in (2, 1))
    np.testing.assert_array_equal(with_two, with_one)


def test_one_against_the_rest(quick, wine):
    assert OneVsRestClassifier(quick).fit(*wine).score(*wine) > 0.9


def test_two_classes_rank_by_the_decision_function(quick):
    X, y = load_breast_cancer(return_X_y=True)
    proba = cross_val_predict(quick, X, y, cv=2, method="predict_proba")
    decision = cross_val_predict(quick, X, y, cv=2, method="decision_function")
    assert roc_auc_score(y, proba[:, 1]) == pytest.approx(roc_auc_score(y, decision), abs=1e-6)
    assert roc_auc_score(y, decision) > 0.97


def test_bins_of_a_discretiser(quick, wine):
    X, y = wine
    bins = KBinsDiscretizer(4, encode="onehot-dense", quantile_method="averaged_inverted_cdf")
    assert make_pipeline(bins, quick).fit(X, y).score(X, y) > 0.9


def posterior_toy(n_rows: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Three Gaussian classes of different widths in the plane, and the probabilities of Bayes' rule."""
    rng = np.random.default_rng(seed)
    means, deviations = np.array([[0, 0], [1.5, 0], [0, 1.5]]), np.array([1, 0.7, 1.3])
    y = rng.integers(3, size=n_rows)
    X = means[y] + deviations[y, None] * rng.standard_normal((n_rows, 2))
    log_density = -((X[:, None] - means) ** 2).sum(-1) / 2 / deviations**2 - 2 * np.log(deviations)
    density = np.exp(log_density)
    return X, y, density / density.sum(1, keepdims=True)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"estimator": "network"},
        {"estimator": "kernel"},
        {"estimator": "network", "path": LearnedPath(time_width=16, n_steps=1)},
    ],
    ids=repr,
)
def test_probabilities_of_a_known_posterior_are_recovered(tiny, options):
    """Target matching is regression under the Brier score: estimates at t = T are probabilities."""
    X, y, _ = posterior_toy(2000, 0)
    X_test, y_test, bayes = posterior_toy(4000, 1)
    settings = {"max_steps": 250, "learning_rate": 0.005, "n_members": 4, "depth": 2, "n_frequencies": 8}
    classifier = tiny(**settings, **options).fit(X, y)
    proba = classifier.predict_proba(X_test)

    def brier(proba):
        return np.mean(((proba - np.eye(3)[y_test]) ** 2).sum(1))

    assert brier(proba) < brier(bayes) + 0.012
    assert expected_calibration_error(y_test, proba) < expected_calibration_error(y_test, bayes) + 0.03
    assert np.abs(proba - bayes).mean() < 0.04
    cosines = np.exp(classifier.decision_function(X_test))
    assert expected_calibration_error(y_test, cosines / cosines.sum(1, keepdims=True)) > 0.1  # what softmax would give
