"""Copies of rows: merged, or kept where they recur by chance."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss

from gendiffclf import GenerativeTransportClassifier
from gendiffclf.training.copies import MOST_COPIES, distinct_rows, training_rows


def merged(X, y, weight):
    """What `distinct_rows` keeps, as values."""
    given = weight
    index, weight, kind = distinct_rows(X, y[:, None], weight)
    np.testing.assert_array_equal(kind == -1, given == 0)
    np.testing.assert_array_equal(X[index][kind[given > 0]], X[given > 0])
    np.testing.assert_array_equal(y[index][kind[given > 0]], y[given > 0])
    return X[index], y[index], weight


@given(st.data(), st.integers(0, 99))
def test_merging_sums_the_weights_of_equal_rows(data, seed):
    rng = np.random.default_rng(seed)
    X = rng.integers(0, 2, (data.draw(st.integers(1, 30)), 2)).astype(float)
    y, weight = rng.integers(0, 2, len(X)), rng.integers(0, 4, len(X)).astype(float)
    weight[0] = 1
    expected: dict[tuple, float] = {}
    for row, label, w in zip(X, y, weight, strict=True):
        expected[(*row, label)] = expected.get((*row, label), 0) + w
    rows, labels, weights = merged(X, y, weight)
    found = {(*row, label): w for row, label, w in zip(rows, labels, weights, strict=True)}
    assert len(found) == len(rows)
    assert found == {key: w for key, w in expected.items() if w > 0}


def test_merged_rows_do_not_depend_on_the_order_of_arrival():
    rng = np.random.default_rng(0)
    X, y, weight = rng.standard_normal((200, 3, 4)), rng.integers(0, 3, 200), rng.uniform(1, 2, 200)
    order = rng.permutation(200)
    for one, other in zip(merged(X, y, weight), merged(X[order], y[order], weight[order]), strict=True):
        np.testing.assert_array_equal(one, other)


def test_rows_are_merged_by_value():
    X = np.array([[0.0, 1], [-0.0, 1], [0, 1], [0, 2]])
    rows, labels, weights = merged(X, np.array([5, 5, 6, 5]), np.ones(4))
    assert sorted(zip(rows[:, 1], labels, weights, strict=True)) == [(1, 5, 2), (1, 6, 1), (2, 5, 1)]


def test_single_and_double_precision_rows_are_kept_in_one_order():
    X = np.random.default_rng(0).standard_normal((100, 3)).astype(np.float32)
    y = np.zeros((100, 1), int)
    single, double = (distinct_rows(X.astype(dtype), y, np.ones(100))[0] for dtype in (np.float32, np.float64))
    np.testing.assert_array_equal(single, double)


def test_the_order_of_merged_rows_has_nothing_to_do_with_their_values():
    """Centres of a kernel are the first of them, so it must not sort by a feature or by the class."""
    X = np.arange(1000.0)[:, None]
    index, *_ = distinct_rows(X, np.zeros((1000, 1), int), np.ones(1000))
    assert abs(np.corrcoef(index, np.arange(1000))[0, 1]) < 0.1


# ---------------------------------------------------------- rows that recur by chance


def cells(n, seed, n_features=3):
    """Rows of a few small integers, whose label depends on the cell."""
    rng = np.random.default_rng(seed)
    X = rng.integers(0, [4, 2, 3, *[2] * (n_features - 3)], (n, n_features))
    log_odds = np.random.default_rng(7).normal(0, 1.2, (4, 2, 3))
    return X.astype(float), (rng.random(n) < 1 / (1 + np.exp(-log_odds[tuple(X[:, :3].T)]))).astype(int)


def kept(X, y, weight=None):
    """Training rows as they are sorted, with their weights, and the number of each row's kind."""
    weight = np.ones(len(X)) if weight is None else np.asarray(weight, float)
    index, weight, kind, observed = training_rows(X, y[:, None], weight)
    assert observed.shape == weight.shape
    np.testing.assert_array_equal(X[index][kind[kind >= 0]], X[kind >= 0])
    np.testing.assert_array_equal(y[index][kind[kind >= 0]], y[kind >= 0])
    return X[index], y[index], weight, kind


def test_copies_of_unusual_rows_are_one_training_row():
    X = np.random.default_rng(0).standard_normal((60, 5))
    rows, _, weight, _ = kept(np.repeat(X, 3, axis=0), np.repeat(np.arange(60) % 2, 3))
    assert len(rows) == 60
    assert set(weight) == {3.0}


def test_rows_of_few_values_stay_several_of_one_sum():
    X, y = cells(100, 0, n_features=6)
    rows, _, weight, kind = kept(X, y)
    assert len(rows) == 100
    assert set(weight) == {1.0}
    assert sorted(kind) == list(range(100))  # each row has a training row of its own
    X, y = cells(5000, 0)
    rows, _, weight, kind = kept(X, y)
    assert len(rows) <= 2 * 24 * MOST_COPIES
    assert weight.sum() == pytest.approx(5000)
    assert set(kind) == set(range(len(rows)))  # every training row stands for some row


@pytest.mark.parametrize("levels", [(6,), (3, 3), (2, 2, 2), (4, 3, 2, 4, 2)], ids=str)
def test_one_hot_columns_recur_as_well(levels):
    rng = np.random.default_rng(0)
    X, y = rng.integers(0, levels, (150, len(levels))), rng.integers(0, 2, 150)
    columns = np.concatenate([np.eye(n)[X[:, j]] for j, n in enumerate(levels)], axis=1)
    assert len(kept(columns, y)[0]) == len(kept(X, y)[0]) == 150


def oversampled(X, y, seed):
    """The smaller class drawn again and again until it is as large as the other, as by RandomOverSampler of imbalanced-learn."""
    few = np.flatnonzero(y == 1)
    more = np.random.default_rng(seed).choice(few, (y == 0).sum() - len(few))
    return np.concatenate([X, X[more]]), np.concatenate([y, y[more]])


@pytest.mark.parametrize("kind", ["few values", "some values", "one feature", "embeddings"])
def test_an_oversampled_class_does_not_recur(kind):
    rng = np.random.default_rng(0)
    y = (np.arange(400) < (5 if kind == "embeddings" else 60)).astype(int)
    numbers = rng.standard_normal((400, 20))
    X = {
        "few values": rng.integers(0, 4, (400, 6)).astype(float),
        "some values": np.c_[rng.integers(0, 2, (400, 6)), numbers[:, :2]],
        "one feature": numbers[:, :1],
        "embeddings": numbers,
    }[kind]
    labels = kept(*oversampled(X, y, 1))[1]
    assert (labels == 1).sum() == len(np.unique(X[y == 1], axis=0))


def test_tiny_weights_make_no_copies():
    X, y = cells(300, 0, n_features=6)
    weight = np.random.default_rng(0).uniform(0.5, 1.5, 300)
    weight[[np.argmin(y), np.argmax(y)]] = 1e-9
    assert len(kept(X, y, weight)[0]) == len(kept(X, y)[0])


def test_copies_in_a_group_are_one(tiny):
    X, y = cells(300, 0)
    classifier = tiny(estimator="kernel").fit(X, y, groups=np.arange(300) % 2)
    assert len(classifier.kernel_.centers) <= 24 * 2 * 2


def test_a_row_that_is_a_large_part_of_all_stays_several():
    X = np.random.default_rng(0).standard_normal((300, 5))
    X[:100] = -3
    rows, _, weight, _ = kept(X, np.zeros(300, int))
    assert (rows == -3).all(1).sum() == MOST_COPIES
    assert weight.sum() == pytest.approx(300)


def test_two_rows_of_many_copies():
    """Held out one at a time, each is known."""
    X, y = np.repeat([[1.0, 3.0], [2.0, 1.0]], 40, axis=0), np.repeat([0, 1], 40)
    proba = GenerativeTransportClassifier(estimator="kernel").fit(X, y).predict_proba(X)
    assert proba[np.arange(80), y].min() > 0.95


def test_missing_values_are_equal():
    X, y = cells(200, 0, n_features=6)
    X[X[:, 0] == 3, 0] = np.nan
    assert len(kept(X, y)[0]) == 200


@pytest.mark.parametrize("repeats", [2, np.where(cells(100, 0, n_features=6)[1], 5, 1)], ids=str)
def test_rows_that_were_all_repeated_do_not_recur(repeats):
    """All of the table, or of a class."""
    X, y = cells(100, 0, n_features=6)
    repeated = kept(np.repeat(X, repeats, axis=0), np.repeat(y, repeats))
    assert len(repeated[0]) == len(kept(X, y)[0]) == 100


@given(st.integers(0, 99))
def test_whole_weights_count_copies(seed):
    X, y = cells(80, seed)
    weight = np.random.default_rng(seed).integers(0, 4, 80)
    weight[[np.argmin(y), np.argmax(y)]] = 1
    one, other = kept(X, y, weight), kept(np.repeat(X, weight, axis=0), np.repeat(y, weight))
    for a, b in zip(one[:3], other[:3], strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("weight", [4.0, np.where(cells(80, 0)[1], 10.0, 1.0), np.linspace(1, 2, 80)], ids=str)
def test_weights_that_tell_no_counts(weight):
    """One factor for all, one for a class, or fractions."""
    X, y = cells(80, 0)
    weight = np.broadcast_to(weight, 80)
    rows, *_ = kept(X, y, weight)
    assert len(rows) == len(kept(X, y)[0])


@pytest.mark.parametrize("estimator", ["both", "kernel", "network"])
def test_a_table_of_few_cells(estimator):
    """Held out with all of its copies, a cell tells nothing of its label: that would be no better than additive models."""
    X, y = cells(1000, 0)
    X_test, y_test = cells(2000, 1)
    additive = LogisticRegression().fit(X, y).predict_proba(X_test)
    found = GenerativeTransportClassifier(estimator=estimator, random_state=0).fit(X, y).predict_proba(X_test)
    assert log_loss(y_test, found) < log_loss(y_test, additive) - 0.03
