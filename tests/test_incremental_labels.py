"""`partial_fit`: labels of the first call, and those that come later."""

import numpy as np
import pytest

WITH_KERNEL = ("both", "kernel")


@pytest.mark.parametrize("estimator", WITH_KERNEL)
def test_a_first_call_is_a_fit(tiny, iris, estimator):
    X, y = iris
    weight = np.linspace(0.5, 2, 150)
    first = tiny(estimator=estimator).partial_fit(X, y, sample_weight=weight)
    fitted = tiny(estimator=estimator).fit(X, y, sample_weight=weight)
    np.testing.assert_array_equal(first.predict_proba(X), fitted.predict_proba(X))


def test_classes_of_a_first_call_may_have_no_rows_yet(tiny, iris):
    X, y = iris
    classifier = tiny().partial_fit(X[:100], y[:100], classes=[0, 1, 2])
    assert classifier.classes_.tolist() == [0, 1, 2]
    assert classifier.predict_proba(X).shape == (150, 3)
    np.testing.assert_allclose(classifier.class_prior_, [0.5, 0.5, 0])
    classifier.partial_fit(X[100:], y[100:])
    assert classifier.score(X, y) > 0.9


def test_labels_may_be_announced_before_their_rows(tiny, iris):
    X, y = iris
    classifier = tiny().fit(X, y)
    classifier.partial_fit(X[:5], y[:5], classes=[0, 1, 2, 3, 4])
    assert classifier.classes_.tolist() == [0, 1, 2, 3, 4]
    assert classifier.predict_proba(X).shape == (150, 5)
    assert set(classifier.predict(X)) <= {0, 1, 2}


@pytest.mark.parametrize(
    ("labels", "new", "message"),
    [
        ([0, 1, 2], "a", r"Got labels of type str, expected int as in classes_=\[0, 1, 2\]"),
        (["a", "b", "c"], 1, r"Got labels of type int, expected str as in classes_=\['a', 'b', 'c'\]"),
    ],
)
def test_labels_of_another_type(tiny, iris, labels, new, message):
    X, y = iris
    classifier = tiny().fit(X, np.array(labels)[y])
    with pytest.raises(ValueError, match=message):
        classifier.partial_fit(X[:2], [new, new])
    assert classifier.classes_.tolist() == labels


@pytest.mark.parametrize(
    ("dtype", "label"), [("uint8", 256), ("uint8", -1), ("int8", 200), ("uint64", 7), ("int32", 2**40)]
)
def test_labels_that_the_type_of_the_classes_cannot_hold(tiny, iris, dtype, label):
    X, y = iris
    classifier = tiny(estimator="kernel").fit(X, y.astype(dtype))
    classifier.partial_fit(X[:20] + 20, np.full(20, label))
    assert set(classifier.classes_.tolist()) == {0, 1, 2, label}
    assert set(classifier.predict(X[:20] + 20).tolist()) == {label}


@pytest.mark.parametrize(("dtype", "first", "label"), [("int64", -1, 2**63), ("uint64", 2**63, -1)])
def test_labels_that_no_type_holds_together(tiny, iris, dtype, first, label):
    X, y = iris
    classifier = tiny(estimator="kernel").fit(X, y.astype(dtype) + np.array(first, dtype))
    with pytest.raises(
        ValueError, match=rf"Got labels from {label} to {label} after classes from {first} to .*one type"
    ):
        classifier.partial_fit(X[:2], [label] * 2)
    assert classifier.classes_.tolist() == [first, first + 1, first + 2]


@pytest.mark.parametrize("classes", [[], [0, 1, np.inf]])
def test_announced_labels_that_lack_those_of_the_rows(tiny, iris, classes):
    X, y = iris
    with pytest.raises(ValueError, match=r"Got labels \[.*2\] in y, expected labels among classes="):
        tiny(estimator="kernel").partial_fit(X[40:], y[40:], classes=classes)


def test_large_labels_are_told_apart(tiny, iris):
    """As floats, 2 ** 60 and the integers next to it would be one."""
    X, y = iris
    classifier = tiny(estimator="kernel").fit(X, y.astype(np.uint64) + np.uint64(2**60))
    classifier.partial_fit(X[:20] + 20, np.full(20, 2**60 + 5))
    assert set(classifier.predict(X[:20] + 20).tolist()) == {2**60 + 5}


def test_whole_numbers_as_floats_are_integers(tiny, iris):
    """As in a column of pandas that had a gap."""
    X, y = iris
    classifier = tiny(estimator="kernel").fit(X[y < 2], y[y < 2]).partial_fit(X, y.astype(float))
    expected = tiny(estimator="kernel").fit(X[y < 2], y[y < 2]).partial_fit(X, y)
    assert classifier.classes_.dtype == expected.classes_.dtype
    np.testing.assert_array_equal(classifier.predict(X), expected.predict(X))


def test_labels_that_were_not_announced(tiny, iris):
    X, y = iris
    message = r"Got labels \[2\] in y, expected labels among classes=\[0, 1\]\."
    with pytest.raises(ValueError, match=message):
        tiny().partial_fit(X, y, classes=[0, 1])
    classifier = tiny().fit(X[:100], y[:100])
    with pytest.raises(ValueError, match=message):
        classifier.partial_fit(X, y, classes=[0, 1])


def test_fit_starts_anew_after_partial_fit(tiny, iris):
    X, y = iris
    classifier = tiny().partial_fit(X, y).partial_fit(X[:3], [5, 5, 5])
    assert classifier.fit(X, y).classes_.tolist() == [0, 1, 2]
    np.testing.assert_array_equal(classifier.predict_proba(X), tiny().fit(X, y).predict_proba(X))
