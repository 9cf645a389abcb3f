"""What `fit` refuses, what a failing fit leaves behind, and what no fit touches."""

import re

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.sparse import csr_array
from sklearn.exceptions import NotFittedError

from gendiffclf import ExactPath, LearnedPath
from gendiffclf.estimators import kernel

ESTIMATORS = ("both", "network", "kernel")

# ---------------------------------------------------------------------- errors


def rows_with(value):
    X = np.ones((6, 4))
    X[2, 1] = value
    return X


@pytest.mark.parametrize(
    ("X", "y", "error", "message"),
    [
        pytest.param(csr_array(np.eye(6)), [0, 1] * 3, TypeError, "[Ss]parse", id="sparse"),
        pytest.param(
            rows_with(-np.inf),
            [0, 1] * 3,
            ValueError,
            r"infinity or a number beyond float64 in column 1, first in row 2, expected finite .* clip it, or replace it",
            id="infinity",
        ),
        pytest.param(np.empty((0, 4)), [], ValueError, "0 sample", id="no rows"),
        pytest.param(np.empty((6, 0)), [0, 1] * 3, ValueError, "0 feature", id="no features"),
        pytest.param(
            np.ones((6, 4)),
            [0] * 6,
            ValueError,
            r"Got 1 class in y \(0\), expected at least 2 classes; add rows",
            id="one class",
        ),
        pytest.param(np.ones((6, 4)), [0, 1] * 2, ValueError, "inconsistent numbers of samples", id="lengths"),
        pytest.param(
            np.ones((6, 4)), np.linspace(0, 1, 6), ValueError, "Unknown label type: continuous", id="continuous"
        ),
        pytest.param(
            np.ones((2, 2, 2, 2)),
            [0, 1],
            ValueError,
            r"Got X of 4 dimensions, expected \(rows, features\) or \(rows, layers",
            id="4-D",
        ),
        pytest.param(np.ones(6), [0, 1] * 3, ValueError, "Expected 2D array, got 1D", id="1-D"),
        pytest.param(np.ones((6, 4), complex), [0, 1] * 3, ValueError, "Complex data not supported", id="complex"),
    ],
)
def test_rows_that_cannot_be_fitted(tiny, X, y, error, message):
    with pytest.raises(error, match=message):
        tiny().fit(X, y)


def test_nothing_but_rows_of_nan(tiny, iris):
    X, y = iris
    with (
        pytest.raises(ValueError, match="Got 150 rows of NaN only, expected at least one row of numbers"),
        pytest.warns(UserWarning, match="Got 150 of 150 rows of NaN only"),
    ):
        tiny().fit(np.full_like(X, np.nan), y)


@pytest.mark.parametrize("sample_weight", [np.zeros(150), np.full(150, -1.0), np.full(150, np.nan), np.ones(3)])
def test_weights_that_make_no_sense(tiny, iris, sample_weight):
    message = "zeros only|at least one non-zero|Negative values|NaN|sample_weight.shape"
    with pytest.raises(ValueError, match=message):
        tiny().fit(*iris, sample_weight=sample_weight)


@pytest.mark.parametrize(
    ("class_weight", "message"),
    [
        ({"0": 1.0}, r"Got class_weight for \['0'\], expected labels among \[0, 1, 2\]"),
        ({0: 0, 1: 0, 2: 0}, r"Got class_weight=\{0: 0, 1: 0, 2: 0\}, expected a row with a positive weight"),
        ({0: np.inf}, "expected non-negative finite weights"),
        ({np.int64(7): np.float64(1.5)}, r"Got class_weight for \[7\], expected labels among \[0, 1, 2\]"),
        ({np.int64(0): np.float64(-1.5)}, r"Got class_weight=\{0: -1\.5\}, expected non-negative"),
        ([1, 2, 3], r"Got class_weight=\[1, 2, 3\], expected a dict of weights by label, 'balanced' or None\."),
    ],
)
def test_class_weights_that_make_no_sense(tiny, iris, class_weight, message):
    with pytest.raises(ValueError, match=message):
        tiny(class_weight=class_weight).fit(*iris)


def test_more_classes_than_the_width_holds(tiny, digits):
    with pytest.raises(
        ValueError,
        match=r"Got 10 classes for 'sinusoidal' codes of width=16, expected a width of at least 21; fit with width=21",
    ):
        tiny(width=16).fit(*digits)


def test_rows_of_another_width(tiny, iris):
    X, y = iris
    with pytest.raises(ValueError, match="X has 3 features, but GenerativeTransportClassifier is expecting 4 features"):
        tiny().fit(X, y).predict(X[:, :3])


@pytest.mark.parametrize(
    ("fitted", "given"),
    [
        ((5, 8), (4, 8)),
        ((5, 8), (5, 7)),
        ((5, 8), (8,)),
        ((5, 8), (5,)),
        ((5, 8), (1, 5, 8)),
        ((1, 8), (8,)),
        ((8,), (5, 8)),
        ((8,), (8, 8)),
        ((8,), (1, 8)),
    ],
)
def test_rows_of_other_layers(tiny, fitted, given):
    """Both shapes are named, before scikit-learn takes the layers for features."""
    y = np.arange(20) % 2
    X, other = (np.random.default_rng(0).standard_normal((20, *shape)) for shape in (fitted, given))
    classifier = tiny(estimator="kernel").fit(X, y)
    message = re.escape(
        f"Got X of shape {other.shape}, expected (rows, {', '.join(map(str, fitted))}) as in fit; make X like the rows of "
        "fit, or fit another classifier on rows like these."
    )
    for rows in (other, other.tolist()):
        with pytest.raises(ValueError, match=message):
            classifier.predict(rows)
    with pytest.raises(ValueError, match=message):
        classifier.partial_fit(other, y)
    assert len(classifier.predict(X.tolist())) == 20


@pytest.mark.parametrize("shape", [(20, 1), (20, 1, 1)])
def test_one_layer_of_one_feature(tiny, shape):
    X = np.arange(20.0)
    classifier = tiny().fit(X.reshape(shape), X > 9)
    for other in ((20, 1), (20, 1, 1)):
        assert classifier.predict(X.reshape(other)).shape == (20,)
    with pytest.raises(ValueError, match=r"Got X of shape \(10, 2, 1\), expected \(rows, 1, 1\) as in fit"):
        classifier.predict(X.reshape(10, 2, 1))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"path": "exakt"}, r"Got path='exakt', expected 'exact', an ExactPath or a LearnedPath\."),
        ({"path": LearnedPath}, r"Got path=<class .*LearnedPath'>, expected 'exact', an ExactPath or a LearnedPath\."),
        ({"path": ExactPath(sigma=0)}, r"Got sigma=0, expected a number in \(0, inf\)\."),
        (
            {"path": LearnedPath(), "estimator": "kernel"},
            r"Got estimator='kernel' with a LearnedPath, expected a network to learn it; use estimator='network' or 'both'",
        ),
        ({"path": LearnedPath(solver="euler", n_steps=1)}, "Got solver='euler' with n_steps=1, expected n_steps >= 2"),
    ],
)
def test_paths_that_cannot_work(tiny, iris, changes, message):
    with pytest.raises(ValueError, match=message):
        tiny(**changes).fit(*iris)


# ------------------------------------------------------------------ failing fits

FAILURES = {
    "groups": ({}, {"groups": np.arange(7)}, ValueError, "Got 7 groups for 150 rows"),
    "weights": ({}, {"sample_weight": np.zeros(150)}, ValueError, "zeros only|at least one non-zero"),
    "class weights": ({"class_weight": {0: -1}}, {}, ValueError, "expected non-negative finite weights"),
    "width": ({"width": 4}, {}, ValueError, "codes of width=4, expected a width of at least"),
    "divergence": (
        {"learning_rate": 1e30},
        {},
        FloatingPointError,
        "Got a loss of nan: training diverged; use a smaller",
    ),
    "interruption": ({"verbose": 1}, {}, KeyboardInterrupt, "interrupted"),
}


@pytest.fixture
def interrupting(monkeypatch):
    """With verbose=1, fitting is interrupted when the estimators are fitted."""
    from gendiffclf import fitting

    fit = fitting.fit_estimators

    def interrupted(params, *args):
        found = fit({**params, "verbose": 0}, *args)
        if params["verbose"]:
            raise KeyboardInterrupt("interrupted")
        return found

    monkeypatch.setattr(fitting, "fit_estimators", interrupted)


@pytest.mark.usefixtures("interrupting")
@pytest.mark.parametrize("case", FAILURES)
def test_a_failing_fit_leaves_the_classifier_as_it_was(tiny, iris, case):
    X, y = iris
    changes, arguments, error, message = FAILURES[case]
    names = pd.DataFrame(X, columns=list("abcd"))
    classifier = tiny().fit(names, y)
    probabilities = classifier.predict_proba(names)
    before = dict(vars(classifier.set_params(**changes)))
    with pytest.raises(error, match=message):
        classifier.fit(X[:, :3], y, **arguments)
    assert vars(classifier).keys() == before.keys()
    assert all(value is before[name] for name, value in vars(classifier).items())
    np.testing.assert_array_equal(classifier.predict_proba(names), probabilities)


@pytest.mark.usefixtures("interrupting")
@pytest.mark.parametrize("case", FAILURES)
def test_a_failing_first_fit_leaves_the_classifier_unfitted(tiny, iris, case):
    X, y = iris
    changes, arguments, error, message = FAILURES[case]
    classifier = tiny(**changes)
    with pytest.raises(error, match=message):
        classifier.fit(X, y, **arguments)
    assert vars(classifier) == classifier.get_params()
    with pytest.raises(NotFittedError):
        classifier.predict(X)
    with pytest.raises(NotFittedError):
        _ = classifier.class_prior_


# --------------------------------------------------- randomness and side effects


def test_the_seed_decides(tiny, iris):
    X, y = iris

    def proba(seed):
        return tiny(estimator="network", random_state=seed).fit(X, y).predict_proba(X)

    found = [proba(seed) for seed in (1, 1, 2, np.random.RandomState(1))]
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_array_equal(found[0], found[3])
    assert not np.allclose(found[0], found[2])
    classifier = tiny(estimator="network", random_state=1)
    np.testing.assert_array_equal(classifier.fit(X, y).fit(X, y).predict_proba(X), found[0])


def test_the_kernel_needs_no_seed(tiny, iris):
    X, y = iris
    one, other = (tiny(estimator="kernel", random_state=seed).fit(X, y).predict_proba(X) for seed in (1, 2))
    np.testing.assert_array_equal(one, other)


def test_members_differ_and_their_mean_counts(tiny, iris):
    from gendiffclf.estimators.network import estimate

    X, y = iris
    classifier = tiny(n_members=3, estimator="network").fit(X, y)
    rows = torch.as_tensor(classifier.scaler_.transform(X[:, None]))[None]
    ends = estimate(classifier.network_, rows).double()
    assert ends.std(0).max() > 0.01
    coordinates = ends.mean(0) @ classifier._codes().T / 16
    expected = classifier.combination_.probabilities([coordinates])
    np.testing.assert_allclose(classifier.predict_proba(X), expected, atol=1e-5)


def world():
    """What a process shares: random states, threads, gradient and inference modes, dtype and determinism of torch."""
    return (
        np.random.get_state()[1].tobytes(),  # noqa: NPY002
        torch.get_rng_state().numpy().tobytes(),
        torch.get_num_threads(),
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
        torch.get_default_dtype(),
        torch.are_deterministic_algorithms_enabled(),
        torch.is_autocast_enabled("cpu"),
    )


@pytest.mark.parametrize("failing", [False, True])
@pytest.mark.parametrize(
    "path", ["exact", LearnedPath(n_steps=3, time_width=8, solver="stochastic")], ids=["exact", "learned"]
)
def test_the_callers_world_stays_as_it_is(tiny, iris, failing, path):
    X, y = iris
    weight = np.linspace(0.5, 2, 150)
    arrays = [a.copy() for a in (X, y, weight)]
    before = world()
    classifier = tiny(path=path, dropout=0.2, learning_rate=1e30 if failing else 1e-3, precision="bfloat16")
    if failing:
        with pytest.raises(FloatingPointError):
            classifier.fit(X, y, weight)
    else:
        classifier.fit(X, y, weight, groups=y).partial_fit(X[:9], y[:9], sample_weight=weight[:9])
        classifier.predict_proba(X)
        classifier.transport(X, 3)
        tiny().fit(X, y).sample(X, 2, random_state=0)
    assert world() == before
    for array, copied in zip((X, y, weight), arrays, strict=True):
        np.testing.assert_array_equal(array, copied)


@pytest.mark.parametrize("estimator", ESTIMATORS)
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_fit_and_predict_in_any_mode_of_torch(tiny, iris, mode, estimator):
    """A caller who switched gradients off can still train, and what is fitted works outside of that mode."""
    X, y = iris
    expected = tiny(estimator=estimator).fit(X, y)
    with mode():
        classifier = tiny(estimator=estimator).fit(X, y)
        np.testing.assert_array_equal(classifier.predict_proba(X), expected.predict_proba(X))
    np.testing.assert_array_equal(classifier.predict_proba(X), expected.predict_proba(X))
    if estimator != "network":
        with mode():
            classifier.partial_fit(X[:5], np.full(5, 7))
        expected.partial_fit(X[:5], np.full(5, 7))
        np.testing.assert_array_equal(classifier.predict_proba(X), expected.predict_proba(X))


def test_torchs_default_dtype_changes_nothing(tiny, iris):
    X, y = iris
    expected = tiny().fit(X, y).predict_proba(X)
    torch.set_default_dtype(torch.float64)
    try:
        found = tiny().fit(X, y).predict_proba(X)
        assert torch.get_default_dtype() == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)
    np.testing.assert_array_equal(found, expected)


def test_nothing_is_printed(tiny, iris, capsys):
    tiny().fit(*iris).predict(iris[0])
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""


def test_a_progress_bar_is_shown_where_it_is_asked_for(tiny, iris, capsys):
    tiny(verbose=1).fit(*iris)
    assert "fit:" in capsys.readouterr().err


def test_processes_must_be_there_where_they_are_asked_for(tiny, iris):
    with pytest.raises(
        ValueError,
        match=r"Got distributed=True without a process group, expected .*; start processes with torchrun, or use",
    ):
        tiny(distributed=True).fit(*iris)


def test_a_single_group_is_warned_of(tiny, iris):
    """No row of another group is left to choose or calibrate on."""
    X, y = iris
    with pytest.warns(UserWarning, match="Got groups with 7 alone, expected at least 2 groups"):
        tiny().fit(X, y, groups=np.full(len(y), 7))


@pytest.mark.parametrize(
    ("labels", "shown"),
    [
        (np.where(np.arange(150) == 50, np.nan, 1.0 * (np.arange(150) > 70)), r"nan at index 50 \(1 of 150 rows\)"),
        (["a"] * 75 + [None] * 75, r"None at index 75, 76, 77, … \(75 of 150 rows\)"),
    ],
)
def test_missing_labels_are_named(tiny, iris, labels, shown):
    with pytest.raises(ValueError, match=f"Got y with {shown}, expected a value for each row"):
        tiny().fit(iris[0], labels)


# --------------------------------------------------------------------- centres


@pytest.mark.parametrize(("n_centers", "expected"), [("auto", {"curved": 100, "linear": 50}), (50, {"curved": 50})])
def test_centres_are_doubled_where_that_pays(n_centers, expected, tiny, monkeypatch):
    monkeypatch.setattr(kernel, "EXACT_ROWS", 200)
    monkeypatch.setattr(kernel, "NYSTROM_CENTERS", 50)
    monkeypatch.setattr(kernel, "_REFINING", (25, 24))
    rows = np.random.default_rng(0).normal(size=(600, 3))
    labels = {"curved": np.sin(2 * rows[:, 0]) + np.sin(2 * rows[:, 1]) > 0, "linear": rows.sum(axis=1) > 0}
    for name, count in expected.items():
        fitted = tiny(estimator="kernel", kernel="gaussian", n_centers=n_centers).fit(rows, labels[name])
        assert len(fitted.kernel_.centers) == count, name
