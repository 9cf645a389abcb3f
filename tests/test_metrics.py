"""Calibration error against hand-made probabilities."""

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression

from gendiffclf import expected_calibration_error
from gendiffclf.metrics import concordance_correlation, concordance_scorer, reliability_bins


def test_certain_and_right_is_zero():
    assert expected_calibration_error([0, 1, 2], np.eye(3)) == 0


def test_certain_and_wrong_is_one():
    assert expected_calibration_error([0, 1], [[0.0, 1.0], [1.0, 0.0]]) == 1


def test_labels_of_another_type_are_an_error():
    with pytest.raises(ValueError, match="Got labels such as '0' in y_true and 0 in labels, expected some in both"):
        expected_calibration_error(["0", "1"], np.eye(2), labels=[0, 1])
    assert expected_calibration_error([0, 7], [[1.0, 0.0], [1.0, 0.0]], labels=[0, 1]) == 0.5  # one that is new


def test_bins_are_weighted_by_rows():
    # Three rows of confidence .9, all right; one of .6, wrong: (3 * .1 + 1 * .6) / 4.
    proba = [[0.9, 0.1]] * 3 + [[0.6, 0.4]]
    assert expected_calibration_error([0, 0, 0, 1], proba) == pytest.approx(0.225)


def test_one_bin_compares_means():
    rng = np.random.default_rng(0)
    proba = rng.dirichlet(np.ones(4), 200)
    y = rng.integers(4, size=200)
    gap = abs(proba.max(1).mean() - (proba.argmax(1) == y).mean())
    assert expected_calibration_error(y, proba, n_bins=1) == pytest.approx(gap)


def test_labels_drawn_from_the_probabilities_are_calibrated():
    rng = np.random.default_rng(0)
    proba = rng.dirichlet(np.ones(3), 20_000)
    y = (rng.random((20_000, 1)) > proba.cumsum(1)).sum(1)
    assert expected_calibration_error(y, proba) < 0.015


def test_strings_and_columns_without_rows():
    error = expected_calibration_error(["b", "b"], [[0, 1, 0], [0, 1, 0]], labels=["a", "b", "c"])
    assert error == 0


def test_edges_belong_to_the_bin_below():
    bins = reliability_bins([0, 0], [[0.5, 0.5], [0.51, 0.49]], n_bins=2, labels=[0, 1])
    np.testing.assert_array_equal(bins.n_rows, [1, 1])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0, 1], [[0.5, 0.5], [0.7, 0.7]]), "expected rows >= 0 that sum to 1"),
        (([0, 1], [[0.5, 0.5], [1.5, -0.5]]), "expected rows >= 0 that sum to 1"),
        (([0, 0], [[0.5, 0.5], [0.5, 0.5]]), r"shape \(2, 2\) for 1 labels, expected one column per label"),
        (([0, 1], [0.5, 0.7]), r"Got y_proba of shape \(2,\) for 2 labels, expected one column per label; pass labels"),
        (([0, 1], [[0.5, 0.5]]), "inconsistent numbers of samples"),
    ],
)
def test_wrong_input_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        expected_calibration_error(*arguments)


def test_wrong_bins_are_refused():
    with pytest.raises(ValueError, match="Got n_bins=0, expected an integer >= 1"):
        expected_calibration_error([0, 1], np.eye(2), n_bins=0)


def test_concordance_is_its_definition():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(30, 2)), rng.normal(0.5, 2, size=(30, 2))
    expected = [
        2
        * np.cov(x[:, k], y[:, k], bias=True)[0, 1]
        / (x[:, k].var() + y[:, k].var() + (x[:, k].mean() - y[:, k].mean()) ** 2)
        for k in range(2)
    ]
    np.testing.assert_allclose(concordance_correlation(x, y, multioutput="raw_values"), expected)
    assert concordance_correlation(x, y) == pytest.approx(np.mean(expected))
    assert concordance_correlation(x[:, 0], y[:, 0]) == pytest.approx(expected[0])


def test_concordance_of_equal_opposite_and_constant_ratings():
    y = np.array([1.0, 2.0, 4.0])
    assert concordance_correlation(y, y) == pytest.approx(1)
    assert concordance_correlation(y, 2 * y.mean() - y) == pytest.approx(-1)
    assert concordance_correlation(y, np.full(3, 2.0)) == 0
    assert concordance_correlation(np.full(3, 2.0), np.full(3, 2.0)) == 1


def test_weights_of_concordance_are_repetitions():
    x, y = np.array([1.0, 2.0, 5.0]), np.array([2.0, 2.5, 3.0])
    repeated = concordance_correlation(np.repeat(x, [1, 2, 3]), np.repeat(y, [1, 2, 3]))
    assert concordance_correlation(x, y, sample_weight=[1, 2, 3]) == pytest.approx(repeated)


def test_the_scorer_of_concordance_asks_the_estimator():
    y = np.arange(8.0)
    model = LinearRegression().fit(y[:, None], y)
    assert concordance_scorer(model, y[:, None], y) == pytest.approx(1)


def test_wrong_ratings_are_refused():
    with pytest.raises(
        ValueError, match=r"Got y_true of shape \(2, 1\) and y_pred of shape \(2, 2\), expected one shape"
    ):
        concordance_correlation([1, 2], [[1, 2], [3, 4]])
    with pytest.raises(ValueError, match="Got multioutput='all', expected one of"):
        concordance_correlation([1, 2], [1, 2], multioutput="all")
