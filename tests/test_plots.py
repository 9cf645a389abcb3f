"""Displays: what they draw, where, and what they say without matplotlib."""

import sys

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_wine
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from gendiffclf import LearnedPath, ReliabilityDisplay, TransportDisplay, expected_calibration_error
from gendiffclf.transport.codes import label_codes

pytest.importorskip("matplotlib")
X, y = load_wine(return_X_y=True)
NAMES = np.array(["barolo", "grignolino", "barbera"])


pytestmark = pytest.mark.usefixtures("pyplot")


@pytest.fixture(scope="module")
def classifier(tiny):
    return tiny(width=16, estimator="kernel").fit(X, NAMES[y])


def test_transport_starts_at_features_and_ends_at_the_estimate(classifier):
    display = TransportDisplay.from_estimator(classifier, X, NAMES[y], row=60, n_steps=8)
    np.testing.assert_array_equal(display.states[-1], classifier.transport(X[60:61], n_steps=8)[0])
    np.testing.assert_array_equal(display.times, np.linspace(1, 0, 9))
    assert len(display.axes_) == 5
    for ax, i in zip(display.axes_, [0, 2, 4, 6, 8], strict=True):
        code, state = ax.lines
        np.testing.assert_array_equal(state.get_ydata(), display.states[i])
        np.testing.assert_array_equal(code.get_ydata(), display.code)
    assert "features" in display.axes_[0].get_title()
    assert "code" in display.axes_[-1].get_title()


def test_transport_shows_the_exact_path(classifier):
    """Each state is the posterior mean of the path, and the last is the code of the prediction."""
    row = int(np.flatnonzero(y == 2)[0])
    display = TransportDisplay.from_estimator(classifier, X, row=row)
    assert display.states.shape == (21, 16)
    codes = label_codes("sinusoidal", 3, 16)
    np.testing.assert_allclose(
        display.states[-1], codes[classifier.classes_ == classifier.predict(X[row : row + 1])][0], atol=1e-3
    )
    np.testing.assert_array_equal(display.code, codes[classifier.classes_ == classifier.predict(X[row : row + 1])][0])


def test_transport_is_that_of_the_fit(tiny):
    """Whatever codes and path the parameters name later."""
    fitted = tiny(width=16, codes="one_hot", path=LearnedPath(t_max=0.8, n_steps=3, time_width=8)).fit(X, y)
    fitted.set_params(codes="sinusoidal", path="exact")
    display = TransportDisplay.from_estimator(fitted, X, y)
    np.testing.assert_array_equal(display.code, label_codes("one_hot", 3, 16)[0])
    np.testing.assert_allclose(display.times, np.linspace(0.8, 0, 4))
    np.testing.assert_array_equal(display.states, fitted.transport(X[:1], return_path=True)[:, 0])
    assert len(display.axes_) == 4


def test_transport_draws_codes_of_new_classes(tiny):
    fitted = tiny(width=16, estimator="kernel").fit(X[y != 1], y[y != 1]).partial_fit(X[y == 1], y[y == 1])
    row = int(np.flatnonzero(y == 1)[0])
    np.testing.assert_array_equal(
        TransportDisplay.from_estimator(fitted, X, y, row=row).code, label_codes("sinusoidal", 3, 16)[2]
    )


def test_transport_draws_the_true_code(classifier):
    row = int(np.flatnonzero(y == 1)[0])
    display = TransportDisplay.from_estimator(classifier, X, NAMES[y], row=row)
    number = classifier.code_index_[classifier.classes_.tolist().index(NAMES[1])]
    np.testing.assert_array_equal(display.code, label_codes("sinusoidal", 3, 16)[number])
    assert display.code_name.endswith("grignolino")


def test_transport_without_labels_draws_the_nearest_code(classifier):
    display = TransportDisplay.from_estimator(classifier, X, row=5)
    assert display.code_name.endswith(classifier.predict(X[5:6])[0])


def test_transport_takes_frames(classifier):
    frame = pd.DataFrame(X)
    display = TransportDisplay.from_estimator(classifier, frame, pd.Series(NAMES[y], index=frame.index + 7), row=5)
    assert display.code_name.endswith(NAMES[y[5]])


def test_transport_names_nullable_integers_as_integers(tiny):
    fitted = tiny(width=16, estimator="kernel").fit(X, y)
    display = TransportDisplay.from_estimator(fitted, X, pd.Series(y, dtype="Int64"), row=80)
    assert display.code_name == f"code of its class, {y[80]}"


def test_transport_draws_on_given_axes(classifier, pyplot):
    _, axes = pyplot.subplots(1, 3)
    display = TransportDisplay.from_estimator(classifier, X, n_panels=3, axes=axes)
    assert list(display.axes_) == list(axes)
    assert display.figure_ is axes[0].figure
    with pytest.raises(ValueError, match="Got 3 axes, expected 2, one for each state shown"):
        display.plot(n_panels=2, axes=axes)


def test_transport_through_a_pipeline(classifier):
    pipeline = make_pipeline(
        FunctionTransformer(lambda rows: rows / 2), FunctionTransformer(lambda rows: rows * 2), classifier
    )
    expected = TransportDisplay.from_estimator(classifier, X, NAMES[y], row=60)
    np.testing.assert_array_equal(
        TransportDisplay.from_estimator(pipeline, X, NAMES[y], row=60).states, expected.states
    )


def test_transport_refuses_rows_that_are_not_there(classifier):
    with pytest.raises(ValueError, match="Got row=178, expected an index below 178"):
        TransportDisplay.from_estimator(classifier, X, row=178)
    with pytest.raises(ValueError, match="Got row=-1, expected an integer >= 0"):
        TransportDisplay.from_estimator(classifier, X, row=-1)
    with pytest.raises(ValueError, match=r"Got the label 'rosé', expected one of \['barbera'"):
        TransportDisplay.from_estimator(classifier, X, ["rosé"] * len(X))
    with pytest.raises(ValueError, match=r"Got the label 0, expected one of \['barbera'"):
        TransportDisplay.from_estimator(classifier, X, y)
    with pytest.raises(ValueError, match="Got 3 labels in y for 178 rows of X"):
        TransportDisplay.from_estimator(classifier, X, NAMES, row=5)
    with pytest.raises(ValueError, match="Got n_steps=0, expected an integer >= 1"):
        TransportDisplay.from_estimator(classifier, X, n_steps=0)
    with pytest.raises(ValueError, match="Got n_panels=1, expected an integer >= 2"):
        TransportDisplay.from_estimator(classifier, X, n_panels=1)


def test_reliability_draws_its_bins():
    rng = np.random.default_rng(0)
    proba = rng.dirichlet(np.ones(3), 100)
    truth = rng.integers(3, size=100)
    display = ReliabilityDisplay.from_predictions(truth, proba, name="chance", n_bins=10)
    np.testing.assert_array_equal(display.line_.get_xdata(), display.bins.confidence)
    np.testing.assert_array_equal(display.line_.get_ydata(), display.bins.accuracy)
    error = expected_calibration_error(truth, proba, n_bins=10)
    assert display.line_.get_label() == f"chance, ECE {error:.3f}"


def test_reliability_of_several_classifiers_shares_axes(classifier):
    first = ReliabilityDisplay.from_estimator(classifier, X, NAMES[y])
    second = ReliabilityDisplay.from_estimator(classifier, X, NAMES[y], name="again", ax=first.ax_)
    assert second.ax_ is first.ax_
    labels = first.ax_.get_legend_handles_labels()[1]
    assert labels.count("calibrated") == 1
    assert [label.partition(",")[0] for label in labels[1:]] == ["GenerativeTransportClassifier", "again"]


def test_without_matplotlib_the_extra_is_named(classifier, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    for draw in (
        lambda: TransportDisplay.from_estimator(classifier, X),
        lambda: ReliabilityDisplay.from_predictions([0, 1], np.eye(2)),
        lambda: ReliabilityDisplay.from_estimator(classifier, X, NAMES[y]),
    ):
        with pytest.raises(ImportError, match=r"pip install -e '.\[plots\]'"):
            draw()
