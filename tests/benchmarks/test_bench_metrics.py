"""Scores on cases that can be worked out by hand."""

import numpy as np
import pytest

from benchmarks.metrics import align_columns, score_probabilities

LABELS = np.array(["a", "b", "c"])


def test_certain_and_right_is_perfect():
    y = np.array(["a", "b", "c", "a"])
    scores = score_probabilities(y, np.eye(3)[[0, 1, 2, 0]], LABELS)
    assert (scores["accuracy"], scores["uar"]) == (1, 1)
    assert (scores["log_loss"], scores["brier"], scores["ece"]) == (0, 0, 0)


def test_certain_and_wrong_is_clipped():
    scores = score_probabilities(np.array(["b", "b"]), np.eye(3)[[0, 0]], LABELS)
    assert scores["accuracy"] == 0
    assert scores["log_loss"] == pytest.approx(-np.log(1e-7))
    assert scores["brier"] == 2
    assert scores["ece"] == 1


def test_by_hand():
    y = np.array(["a", "a", "a", "b"])
    proba = np.tile([0.75, 0.25, 0.0], (4, 1))
    scores = score_probabilities(y, proba, LABELS)
    assert scores["accuracy"] == 0.75
    assert scores["uar"] == 0.5  # c does not occur, so it does not count
    assert scores["log_loss"] == pytest.approx(-(3 * np.log(0.75) + np.log(0.25)) / 4)
    assert scores["brier"] == pytest.approx((3 * 2 * 0.25**2 + 2 * 0.75**2) / 4)
    assert scores["ece"] == 0
    assert scores["reliability"] == {"n_bins": 15, "confidence": [0.75], "accuracy": [0.75], "n_rows": [4]}


def test_ece_weighs_bins_by_rows():
    # Three rows at 0.9 of which two are right, one row at 0.6 that is right.
    proba = np.array([[0.9, 0.1], [0.9, 0.1], [0.9, 0.1], [0.6, 0.4]])
    scores = score_probabilities(np.array(["a", "a", "b", "a"]), proba, LABELS[:2])
    assert scores["ece"] == pytest.approx((3 * (0.9 - 2 / 3) + (1 - 0.6)) / 4)


def test_ece_is_that_of_fifteen_bins_open_at_the_left():
    rng = np.random.default_rng(0)
    proba = rng.dirichlet(np.ones(3), 500)
    truth = rng.integers(3, size=500)
    confidence, hit = proba.max(axis=1), proba.argmax(axis=1) == truth
    expected = 0.0
    for low in np.arange(15) / 15:
        inside = (confidence > low) & (confidence <= low + 1 / 15)
        if inside.any():
            expected += inside.mean() * abs(confidence[inside].mean() - hit[inside].mean())
    assert score_probabilities(LABELS[truth], proba, LABELS)["ece"] == pytest.approx(expected)


def test_classes_that_training_lacked_have_no_probability():
    full = align_columns(np.array([[0.2, 0.8]]), np.array(["a", "c"]), LABELS)
    np.testing.assert_array_equal(full, [[0.2, 0, 0.8]])
    scores = score_probabilities(np.array(["b"]), full, LABELS)
    assert scores["accuracy"] == 0
    assert scores["log_loss"] == pytest.approx(-np.log(1e-7))


def test_order_of_classes_does_not_matter():
    np.testing.assert_array_equal(align_columns(np.array([[0.2, 0.8]]), np.array(["c", "a"]), LABELS), [[0.8, 0, 0.2]])


def test_foreign_class_is_refused():
    with pytest.raises(ValueError, match=r"Got classes \['z'\], expected labels of the table"):
        align_columns(np.ones((1, 1)), np.array(["z"]), LABELS)
