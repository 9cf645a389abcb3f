"""Votes as labels, and probabilities measured against them."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy.stats import entropy
from sklearn.metrics import log_loss

from gendiffclf import jensen_shannon_divergence, vote_cross_entropy


@pytest.fixture
def voted(iris):
    """Five votes a row, most for its class; names of classes."""
    X, y = iris
    rng = np.random.default_rng(0)
    shares = 0.1 + 0.7 * np.eye(3)[y]
    return X, rng.multinomial(5, shares), np.array(["setosa", "versicolor", "virginica"])


@pytest.mark.parametrize("estimator", ["both", "kernel", "network"])
def test_votes_are_rows_repeated_with_weights(tiny, voted, estimator):
    X, votes, names = voted
    found = tiny(estimator=estimator).fit_votes(X, pd.DataFrame(votes, columns=names))
    rows, y = np.repeat(np.arange(150), 3), np.tile(names, 150)
    expected = tiny(estimator=estimator).fit(X[rows], y, sample_weight=votes.ravel(), groups=rows)
    np.testing.assert_allclose(found.predict_proba(X), expected.predict_proba(X), rtol=1e-6)
    single = np.repeat(rows, votes.ravel())
    repeated = tiny(estimator=estimator).fit(X[single], np.repeat(y, votes.ravel()), groups=single)
    np.testing.assert_allclose(found.predict_proba(X), repeated.predict_proba(X), atol=1e-5)


def test_votes_that_agree_are_labels(tiny, iris):
    X, y = iris
    found = tiny().fit_votes(X, np.eye(3)[y])
    np.testing.assert_array_equal(found.predict_proba(X), tiny().fit(X, y).predict_proba(X))


def test_probabilities_follow_the_votes_rather_than_their_majority(tiny):
    """Everyone votes 3 to 2 everywhere: the majority says nothing of that."""
    X = np.random.default_rng(0).normal(size=(200, 2))
    found = tiny(estimator="kernel").fit_votes(X, np.tile([3, 2], (200, 1))).predict_proba(X)
    np.testing.assert_allclose(found[:, 0], 0.6, atol=0.05)


def test_rows_without_votes_and_classes_without_votes_are_left_out(tiny, voted):
    X, votes, _ = voted
    votes = np.c_[votes, np.zeros(150)]
    votes[:10] = 0
    found = tiny().fit_votes(X, votes)
    assert found.classes_.tolist() == [0, 1, 2]
    expected = tiny().fit_votes(X[10:], votes[10:])
    np.testing.assert_allclose(found.predict_proba(X), expected.predict_proba(X), atol=1e-6)


def test_weights_and_groups_of_votes(tiny, voted):
    X, votes, names = voted
    weight, groups = np.random.default_rng(0).uniform(1, 2, 150), np.arange(150) // 5
    found = tiny().fit_votes(X, votes, names, sample_weight=weight, groups=groups)
    expected = tiny().fit_votes(X, votes * weight[:, None], names, groups=groups)
    np.testing.assert_allclose(found.predict_proba(X), expected.predict_proba(X), rtol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"votes": -np.ones((150, 3))}, r"Got votes of which the least is -1\.0, expected votes >= 0"),
        (
            {"votes": np.zeros((150, 3))},
            r"Got votes of which the least is 0\.0, expected .* at least one that is positive",
        ),
        (
            {"votes": np.full((150, 3), np.nan)},
            "Got votes with nan in row 0, column 0, expected finite numbers >= 0; write 0 for a class without votes",
        ),
        (
            {"votes": np.ones(150)},
            r"Got votes of shape \(150,\), expected a column for each class; make single labels one-hot",
        ),
        ({"groups": np.arange(2)}, r"Got 2 groups for 150 rows, expected one group per row\."),
        ({"sample_weight": -np.ones(150)}, "Negative values in data passed to `sample_weight`"),
        ({"classes": ["a", 1, 2]}, r"Got classes=\['a', 1, 2\] .* all different and of one type"),
        ({"votes": np.ones((4, 3))}, r"Got votes of 4 rows for X of 150, expected a row of votes for each row\."),
        (
            {"classes": ["a", "b"]},
            r"Got classes=\['a', 'b'\] for votes of 3 columns, expected one label for each column",
        ),
        ({"classes": ["a", "b", "b"]}, "expected one label for each column, all different"),
    ],
)
def test_votes_that_nothing_can_be_learnt_from(tiny, voted, change, message):
    X, votes, _ = voted
    with pytest.raises(ValueError, match=message):
        tiny().fit_votes(X, **{"votes": votes, **change})


# -------------------------------------------------------------------- metrics


def test_metrics_in_closed_form():
    rng = np.random.default_rng(0)
    votes, proba = rng.integers(1, 6, (50, 4)), rng.dirichlet(np.ones(4), 50)
    shares = votes / votes.sum(1, keepdims=True)
    middle = (shares + proba) / 2
    divergence = (entropy(shares, middle, axis=1) + entropy(proba, middle, axis=1)) / 2
    assert jensen_shannon_divergence(votes, proba) == pytest.approx(divergence.mean())
    assert vote_cross_entropy(votes, proba) == pytest.approx(
        (entropy(shares, axis=1) + entropy(shares, proba, axis=1)).mean()
    )
    weight = np.eye(50)[7]
    assert jensen_shannon_divergence(votes, proba, sample_weight=weight) == pytest.approx(divergence[7])


def test_metrics_at_their_ends():
    votes = np.eye(3)[[0, 1, 2, 0]] * 4
    assert jensen_shannon_divergence(votes, votes / 4) == 0
    assert jensen_shannon_divergence(votes, np.roll(votes, 1, axis=1)) == pytest.approx(np.log(2))
    assert vote_cross_entropy(votes, votes / 4) == 0
    assert vote_cross_entropy(votes, np.roll(votes, 1, axis=1)) == np.inf
    proba = np.random.default_rng(0).dirichlet(np.ones(3), 4)
    assert vote_cross_entropy(votes, proba) == pytest.approx(log_loss([0, 1, 2, 0], proba))


def test_held_out_estimates_are_of_the_rows_as_they_came(tiny, voted):
    X, votes, names = voted
    classifier = tiny().fit_votes(X, votes, names)
    np.testing.assert_array_equal(classifier.held_out_index_, np.arange(150))
    assert classifier.held_out_proba_.shape == (150, 3)
    assert jensen_shannon_divergence(votes, classifier.held_out_proba_) < 0.3
    right = names[classifier.held_out_proba_.argmax(1)] == names[votes.argmax(1)]
    assert right.mean() > 0.7


@pytest.mark.parametrize("kind", ["pandas", "polars"])
def test_votes_and_rows_in_dataframes(tiny, kind):
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 90)
    X = pd.DataFrame(
        {"colour": np.array(["red", "green", "blue"])[y], "size": np.where(rng.random(90) < 0.2, np.nan, y)}
    )
    votes = pd.DataFrame(1 + 3 * np.eye(3, dtype=int)[y], columns=["c", "a", "b"])
    if kind == "polars":
        X, votes = pl.from_pandas(X), pl.from_pandas(votes)
    classifier = tiny(estimator="kernel").fit_votes(X, votes)
    assert classifier.classes_.tolist() == ["a", "b", "c"]
    np.testing.assert_array_equal(classifier.predict(X), np.array(["c", "a", "b"])[y])


@pytest.mark.parametrize("metric", [jensen_shannon_divergence, vote_cross_entropy])
def test_input_that_is_no_votes(metric):
    with pytest.raises(
        ValueError,
        match=r"Got votes of shape \(1, 3\) and y_proba of shape \(1, 2\), expected a row for each row and a col",
    ):
        metric([[1, 0, 0]], [[0.5, 0.5]])
    with pytest.raises(ValueError, match="Got votes with a negative value or a row of zeros"):
        metric([[0, 0]], [[0.5, 0.5]])
    with pytest.raises(ValueError, match="Got y_proba with a negative value or a row of zeros"):
        metric([[1, 0]], [[-0.5, 1.5]])
    with pytest.raises(ValueError, match="Got y_proba with inf in row 0, column 1, expected finite numbers"):
        metric([[1, 0]], [[0.5, np.inf]])
    tables = [pd.DataFrame([[1, 2]], columns=list(names)) for names in ("ab", "ba")]
    with pytest.raises(
        ValueError, match=r"Got votes with the columns \['a', 'b'\] and y_proba with \['b', 'a'\], expected the"
    ):
        metric(*tables)
    for weight in ([1, 2], [-1], [0]):
        with pytest.raises(ValueError, match=r"sample_weight|Sample weights"):
            metric([[1, 0]], [[0.5, 0.5]], sample_weight=weight)
